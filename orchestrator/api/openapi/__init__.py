"""The OpenAPI 3.1 document, written from the records and examples the handlers use.

Litestar's own generator is bypassed as its conversions are: it would see bytes going in and out.
A test holds the document against the routes, the examples against the schemas, and both against
`openapi/openapi.json`.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.api import VERSION
from orchestrator.api.account import KeyView, UsageView
from orchestrator.api.batch import BatchAnswer
from orchestrator.api.batching import BatchRequest
from orchestrator.api.capacity import Health, Surfaces
from orchestrator.api.lanes import LimitRequest
from orchestrator.api.openapi import (
    calls,
    dialect_examples,
    dialects,
    errors,
    examples,
    operators,
    speaking,
    told,
)
from orchestrator.api.openapi.headers import COMMON, HEADERS, RATE
from orchestrator.api.openapi.headers import described as headers
from orchestrator.api.openapi.operation import JSON, SSE, TEXT, Answer, Operation, System
from orchestrator.api.openapi.operations import LINKS, OPERATIONS
from orchestrator.api.openapi.parameters import PARAMETERS
from orchestrator.api.openapi.parameters import described as parameter
from orchestrator.api.operators import Keys, Nodes
from orchestrator.api.preflight import PreflightRequest
from orchestrator.api.problems import ErrorDocument
from orchestrator.api.replays import ReplayRequest
from orchestrator.api.retries import RetryRequest
from orchestrator.api.schemas import SubmitRequest, SurfaceRequest
from orchestrator.api.webhook_secrets import WebhookSecretRequest
from orchestrator.domain.deliveries import Deliveries, Delivery, Replayed
from orchestrator.domain.documents import (
    Accepted,
    Envelope,
    FlatResult,
    FlatResults,
    JobRead,
    Results,
    SyncResult,
)
from orchestrator.domain.lane_views import LaneView
from orchestrator.domain.many import Cleared, GroupView, Jobs, Matched
from orchestrator.domain.preflight import Preflight
from orchestrator.domain.secret_views import NewWebhookSecret, WebhookSecrets
from orchestrator.domain.snapshot import Snapshot

REFERENCE = "#/components/schemas/{name}"
RECORDS = (
    Accepted,
    BatchAnswer,
    JobRead,
    Envelope,
    FlatResult,
    Results,
    FlatResults,
    Jobs,
    SyncResult,
    Snapshot,
    Preflight,
    Surfaces,
    KeyView,
    UsageView,
    Nodes,
    Keys,
    LaneView,
    Health,
    Cleared,
    GroupView,
    Matched,
    *(Deliveries, Delivery, Replayed),
    *(NewWebhookSecret, WebhookSecrets),
    *told.EVENTS,
    *dialects.RECORDS,
    *calls.RECORDS,
    *speaking.RECORDS,
    ErrorDocument,
)
BODIES = (
    *(SubmitRequest, SurfaceRequest, BatchRequest, PreflightRequest, RetryRequest),
    *(LimitRequest, ReplayRequest, WebhookSecretRequest),
    *dialects.BODIES,
)
SUBMISSIONS: Mapping[str, Any] = {**examples.SUBMISSIONS, **dialect_examples.SUBMISSIONS}
TAGS = {
    "native": "Parallax's own API.",
    "cloro": "For clients of cloro: tasks and monitors of one cell each.",
    "AsyncQueue": "For clients of AsyncQueue: tasks that are calls of the client's URLs.",
    "Rodin": "For clients of Rodin: how busy each surface is.",
}
TAGGED: Mapping[System, tuple[str, ...]] = {
    "native": ("native",),
    "shared": ("native", "cloro"),
    "cloro": ("cloro",),
    "AsyncQueue": ("AsyncQueue",),
    "Rodin": ("Rodin",),
}


def document() -> dict[str, Any]:
    """The document; the same for every server of this version."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Parallax",
            "version": VERSION,
            "summary": "One question, seen from many places at once.",
            "description": "Submit a query to surfaces x regions, poll it, read the Envelopes.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": told} for name, told in TAGS.items()],
        "paths": paths,
        "webhooks": {**told.webhooks(REFERENCE), **calls.webhooks(REFERENCE)},
        "components": {
            "schemas": _schemas(),
            "examples": {
                name: {"value": value}
                for name, value in {
                    **examples.documents(),
                    **operators.examples(),
                    **told.examples(),
                    **dialect_examples.examples(),
                    **calls.examples(),
                    **errors.examples(),
                }.items()
            },
            "headers": HEADERS,
            "parameters": {name: parameter(name) for name in PARAMETERS},
            "links": {name: _link(name) for name in LINKS},
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "bearerFormat": "sk_live_…"}
            },
        },
    }


def text() -> str:
    """The document as it is exported: indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(document())).decode() + "\n"


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [*TAGGED[operation.system], operation.tag],
        "security": [{"apiKey": []}] if operation.keyed else [],
        "parameters": [
            {"$ref": f"#/components/parameters/{name}"}
            for name in (*operation.parameters, "X-Request-ID")
        ],
    }
    if name := operation.body:
        content = {"schema": _reference(name), "example": SUBMISSIONS[name]}
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {JSON: content},
        }
    described["responses"] = {
        **{str(status): _answer(answer, operation) for status, answer in operation.answers.items()},
        **errors.responses(*operation.errors, keyed=operation.keyed, system=operation.system),
    }
    return described


def _answer(answer: Answer, operation: Operation) -> dict[str, Any]:
    common = (*COMMON, *(RATE if operation.keyed else ()), *speaking.of(operation.system).headers)
    described: dict[str, Any] = {
        "description": answer.meaning,
        "headers": headers((*common, *answer.headers), answer.sometimes),
        "content": {media: _content(media, names) for media, names in answer.documents.items()},
    }
    if answer.links:
        described["links"] = {name: {"$ref": f"#/components/links/{name}"} for name in answer.links}
    return described


def _content(media: str, names: tuple[str, ...]) -> dict[str, Any]:
    if not names:
        return {"schema": {"type": "object"}}
    schemas = [_reference(name) for name in names]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {
        "schema": {"type": "string"} if media in {SSE, TEXT} else schema,
        "examples": {name: {"$ref": f"#/components/examples/{name}"} for name in names},
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": REFERENCE.format(name=name)}


def _link(name: str) -> dict[str, Any]:
    operation, parameters, description = LINKS[name]
    return {"operationId": operation, "parameters": parameters, "description": description}


def _schemas() -> dict[str, Any]:
    _, records = msgspec.json.schema_components(RECORDS, ref_template=REFERENCE)
    for (record, field), names in dialects.EITHER.items():
        records[record]["properties"][field] = dialects.either(REFERENCE, field, names)
    return dict(sorted({**records, **_bodies(), **dialects.shapes(REFERENCE)}.items()))


def _bodies() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for record in BODIES:
        described = record.model_json_schema(ref_template="#/components/schemas/{model}")
        found |= described.pop("$defs", {}) | {record.__name__: described}
    return found
