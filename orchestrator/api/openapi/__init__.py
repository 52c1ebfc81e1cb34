"""The OpenAPI 3.1 document, written from the records and examples the handlers use.

Litestar's own generator is bypassed as its conversions are: it would see bytes going in and out.
A test holds the document against the routes, the examples against the schemas, and both against
`openapi/openapi.json`.
"""

from typing import Any

import msgspec

from orchestrator.api import VERSION
from orchestrator.api.capacity import Health, Surfaces
from orchestrator.api.openapi import errors, examples
from orchestrator.api.openapi.headers import COMMON, HEADERS, RATE, references
from orchestrator.api.openapi.operations import JSON, OPERATIONS, PARAMETERS, Operation
from orchestrator.api.problems import ErrorDocument
from orchestrator.api.schemas import SubmitRequest
from orchestrator.domain.documents import (
    Accepted,
    Envelope,
    FlatResult,
    FlatResults,
    JobRead,
    Results,
)
from orchestrator.domain.snapshot import Snapshot

REFERENCE = "#/components/schemas/{name}"
RECORDS = (
    Accepted,
    JobRead,
    Envelope,
    FlatResult,
    Results,
    FlatResults,
    Snapshot,
    Surfaces,
    Health,
    ErrorDocument,
)


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
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "examples": {
                name: {"value": value}
                for name, value in {**examples.documents(), **errors.examples()}.items()
            },
            "headers": HEADERS,
            "parameters": {name: _parameter(name) for name in PARAMETERS},
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "bearerFormat": "sk_live_…"}
            },
        },
    }


def text() -> str:
    """The document as it is exported: indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(document())).decode() + "\n"


def _operation(operation: Operation) -> dict[str, Any]:
    headers = (*COMMON, *(RATE if operation.keyed else ()), *operation.headers)
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": [{"apiKey": []}] if operation.keyed else [],
        "parameters": [
            {"$ref": f"#/components/parameters/{name}"} for name in operation.parameters
        ],
    }
    if operation.body:
        described["requestBody"] = {
            "required": True,
            "content": {
                JSON: {"schema": _reference(operation.body), "example": examples.SUBMISSION}
            },
        }
    described["responses"] = {
        str(operation.status): {
            "description": operation.summary,
            "headers": references(*headers),
            "content": {media: _content(names) for media, names in operation.answers.items()},
        },
        **errors.responses(*operation.errors, keyed=operation.keyed),
    }
    return described


def _content(names: tuple[str, ...]) -> dict[str, Any]:
    if not names:
        return {"schema": {"type": "object"}}
    schemas = [_reference(name) for name in names]
    return {
        "schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas},
        "examples": {name: {"$ref": f"#/components/examples/{name}"} for name in names},
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": REFERENCE.format(name=name)}


def _parameter(name: str) -> dict[str, Any]:
    place, description, schema = PARAMETERS[name]
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": description,
        "schema": schema,
    }


def _schemas() -> dict[str, Any]:
    _, records = msgspec.json.schema_components(RECORDS, ref_template=REFERENCE)
    submission = SubmitRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    inside = submission.pop("$defs")
    return dict(sorted({**records, **inside, "SubmitRequest": submission}.items()))
