"""What the clients of dialects receive: the end of a cloro task, the call of a queue's task."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from orchestrator.api.openapi import dialect_examples
from orchestrator.domain.dialects.asyncqueue import QueueCall

RECORDS = (QueueCall,)
_SIGNED = "The hex HMAC-SHA256 of `<unix time>.<raw body>` by the text of the API key's newest"
_SECRET = f"{_SIGNED} webhook secret. Absent without any."
_UNIX = {"type": "string", "pattern": "^[0-9]+$"}
Header = tuple[bool, str, dict[str, Any]]
_CLORO: dict[str, Header] = {
    "X-Cloro-Webhook-Id": (
        True,
        "The id of the task, `-` and the number of this attempt.",
        {"type": "string", "pattern": "^[0-9a-f-]{36}-[0-9]+$"},
    ),
    "X-Cloro-Timestamp": (True, "When this attempt was made, in seconds since 1970.", _UNIX),
    "X-Cloro-Signature": (False, _SECRET, {"type": "string", "pattern": "^v1=[0-9a-f]{64}$"}),
}
_ASYNCQUEUE: dict[str, Header] = {
    "X-AsyncQueue-Signature": (
        False,
        _SECRET,
        {"type": "string", "pattern": "^t=[0-9]+,v1=[0-9a-f]{64}$"},
    ),
}


class Received(NamedTuple):
    """A webhook: what it is for, the headers beside its body, and the name of that."""

    name: str
    summary: str
    description: str
    tag: str
    headers: Mapping[str, Header]
    body: str


_ENDED = Received(
    "receiveCloroTask",
    "Receive a cloro task that has ended",
    "Posted to the `webhook` of a task: as it is read, but for `webhook`. What is not answered"
    " 2xx within 10 seconds is sent again: 4 times, after about 2, 4, 8 and 16 minutes.",
    "cloro",
    _CLORO,
    "CloroTaskRead",
)
_CALLED = Received(
    "receiveQueueTask",
    "Be called by a task",
    "Posted to the `webhook_url` of a task, at least once. What is not answered 2xx in the"
    " time of its queue is called again after 1, 2, 4 … seconds.",
    "AsyncQueue",
    _ASYNCQUEUE,
    "QueueCall",
)


def webhooks(reference: str) -> dict[str, Any]:
    """Their part of the document's section; `reference` is where a schema is, by its `name`."""
    return {
        "cloroTask": {"post": _described(_ENDED, reference)},
        "queueTask": {"post": _described(_CALLED, reference)},
    }


def examples() -> dict[str, Any]:
    """An example of each body that is no answer, by its name."""
    read = dialect_examples.examples()["QueueTaskRead"]
    call = QueueCall(task_id=read["id"], queue="emails", payload={"to": "ann"}, attempt=1)
    return {"QueueCall": msgspec.to_builtins(call)}


def _described(received: Received, reference: str) -> dict[str, Any]:
    body = received.body
    content = {
        "schema": {"$ref": reference.format(name=body)},
        "examples": {body: {"$ref": f"#/components/examples/{body}"}},
    }
    return {
        "operationId": received.name,
        "summary": received.summary,
        "description": received.description,
        "tags": [received.tag, "Webhooks"],
        "security": [],
        "parameters": [
            {"name": name, "in": "header", "required": always, "description": told, "schema": shape}
            for name, (always, told, shape) in received.headers.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "2XX": {"description": "Received"},
            "default": {"description": "Sent again later; a redirect is not followed"},
        },
    }
