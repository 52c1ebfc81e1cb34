"""What a webhook receives: the bodies of deliveries and their headers, with examples."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

import msgspec

from orchestrator.api.openapi.examples import CHATGPT, JOB, NOW, PARENT, completed
from orchestrator.domain import deliveries, ids
from orchestrator.domain.deliveries import (
    Deliveries,
    Delivery,
    Occasion,
    Replayed,
    ToldChild,
    ToldParent,
)
from orchestrator.domain.documents import ChildJob
from orchestrator.domain.envelope import Answer, Evidence, Provenance, Wire
from orchestrator.domain.ids import EventId
from orchestrator.domain.secret_views import NewWebhookSecret, WebhookSecret, WebhookSecrets
from orchestrator.domain.times import rfc3339

_CHILD, _PARENT = EventId(PARENT, 1, 1), EventId(PARENT, 0, 1)


class EventResult(Wire):
    """The Envelope of a child, without `raw`."""

    job: ChildJob
    provenance: Provenance
    answer: Answer
    evidence: Evidence


class ChildEvent(Wire):
    """The body that tells of a child that ended."""

    id: str
    type: Literal["job.completed", "job.failed", "job.canceled", "job.expired"]
    created_at: str
    job: ToldChild
    result: EventResult


class ParentEvent(Wire):
    """The body that tells of a parent that ended; each of its runs is told of."""

    id: str
    type: Literal[
        "parent.completed", "parent.partial", "parent.failed", "parent.canceled", "parent.expired"
    ]
    created_at: str
    job: ToldParent
    result: None


EVENTS = (ChildEvent, ParentEvent)
_HEADERS: dict[str, tuple[bool, str, dict[str, Any]]] = {
    "webhook-id": (
        True,
        "The id of the event, the same in every attempt: what was seen already may be dropped.",
        {"type": "string", "pattern": "^evt_[0-9a-v]{36}$"},
    ),
    "webhook-timestamp": (
        True,
        "When this attempt was made, in seconds since 1970.",
        {"type": "string", "pattern": "^[0-9]+$"},
    ),
    "webhook-signature": (
        False,
        "By Standard Webhooks: `v1,` and a base64 HMAC-SHA256 for each secret. Absent without any.",
        {"type": "string", "pattern": "^v1,[A-Za-z0-9+/]{43}=( v1,[A-Za-z0-9+/]{43}=)*$"},
    ),
    "X-Parallax-Signature": (
        False,
        "The hex HMAC-SHA256 of the raw body by the text of each secret. Absent without any.",
        {"type": "string", "pattern": "^[0-9a-f]{64}( [0-9a-f]{64})*$"},
    ),
}


def webhooks(reference: str) -> dict[str, Any]:
    """The section of the document; `reference` is where a schema is, by its `name`."""
    names = [event.__name__ for event in EVENTS]
    content = {
        "schema": {"anyOf": [{"$ref": reference.format(name=name)} for name in names]},
        "examples": {name: {"$ref": f"#/components/examples/{name}"} for name in names},
    }
    received = {
        "operationId": "receiveEvent",
        "summary": "Receive what has ended",
        "description": "Posted to the `webhook` of a submission at least once, in no order. What"
        " is not answered 2xx within 10 seconds is sent again: 6 times over about 7 hours.",
        "tags": ["native", "Webhooks"],
        "security": [],
        "parameters": list(_headers()),
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "2XX": {"description": "Received"},
            "default": {"description": "Sent again later; a redirect is not followed"},
        },
    }
    return {"event": {"post": received}}


def _headers() -> Sequence[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "required": always, "description": told, "schema": schema}
        for name, (always, told, schema) in _HEADERS.items()
    ]


def examples() -> dict[str, Any]:
    """An example of each document and each body, by its name."""
    parent, child = completed()
    ended = NOW + timedelta(seconds=3.25)
    told = deliveries.child_body(
        Occasion(_CHILD, "completed", ended), parent, parent.plan.cell(1), child, CHATGPT
    )
    last = deliveries.parent_body(Occasion(_PARENT, "partial", ended), (3, 1, 0, 0))
    secret = ids.webhook_secret_text(PARENT)
    listed = WebhookSecret(id=secret, created_at=rfc3339(NOW), expires_at=None)
    made = NewWebhookSecret(id=secret, secret="whsec_" + "A" * 43 + "=")
    return {
        "ChildEvent": msgspec.json.decode(told),
        "ParentEvent": msgspec.json.decode(last),
        "Delivery": _plain(_delivery()),
        "Deliveries": _plain(Deliveries(deliveries=(_delivery(),), next_cursor=None)),
        "Replayed": _plain(Replayed(matched=3)),
        "NewWebhookSecret": _plain(made),
        "WebhookSecrets": _plain(WebhookSecrets(secrets=(listed,))),
    }


def _delivery() -> Delivery:
    return Delivery(
        id=ids.delivery_text(_PARENT),
        event_id=ids.event_text(_PARENT),
        type="parent.partial",
        job_id=JOB,
        url="https://example.com/hooks/parallax",
        status="pending",
        attempts=0,
        next_attempt_at=rfc3339(NOW + timedelta(seconds=3.25)),
        last_code=None,
        created_at=rfc3339(NOW + timedelta(seconds=3.25)),
        delivered_at=None,
    )


def _plain(document: msgspec.Struct) -> Any:
    return msgspec.to_builtins(document)
