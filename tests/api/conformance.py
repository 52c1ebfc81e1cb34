"""Which shape the errors of a path have, said once more and otherwise: by CONTRACT.md."""

from typing import Any, NamedTuple

import jsonschema

from orchestrator.api import openapi

DOCUMENT = openapi.document()
NATIVE_ASYNC = ("/v1/async/preflight", "/v1/async/reservations/", "/v1/async/status/stream")
SHARED = ("/v1/async/status", "/v1/async/queue")
CLORO = ("/v1/monitor", "/v1/countries", "/v1/credits")


class Shape(NamedTuple):
    """The schema of an error and, where it is closed, all of its keys."""

    schema: str
    keys: frozenset[str]


NATIVE = Shape(
    "ErrorDocument",
    frozenset({"code", "message", "status", "timestamp", "requestId", "details"}),
)
CLORO_SHAPE = Shape("CloroErrorDocument", frozenset({"code", "message", "details", "timestamp"}))


def shape(path: str, status: int) -> Shape:
    """The shape of the errors of a path, whether or not something is served there."""
    bare = path.rstrip("/")
    if bare in SHARED:
        return Shape("SharedErrorDocument", NATIVE.keys)
    if bare.startswith("/v1/async/") and not f"{bare}/".startswith(
        tuple(f"{one.rstrip('/')}/" for one in NATIVE_ASYNC)
    ):
        return CLORO_SHAPE
    if any(bare == one or bare.startswith(f"{one}/") for one in CLORO):
        return CLORO_SHAPE
    if bare == "/v1/tasks" or bare.startswith("/v1/tasks/"):
        return Shape("AsyncQueueErrorDocument", frozenset({"code", "message"}))
    if bare == "/api/v2" or bare.startswith("/api/v2/"):
        return Shape("RodinErrorDocument", frozenset())
    return NATIVE


def faults(shape: Shape, told: Any) -> list[str]:
    """What is wrong with the body of an error."""
    schema = {
        "$ref": f"#/components/schemas/{shape.schema}",
        "components": DOCUMENT["components"],
    }
    found = [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(told)]
    if not shape.keys:
        return found + ([] if told.keys() == {"error", "message"} else [str(told.keys())])
    success = shape.schema in {"SharedErrorDocument", "CloroErrorDocument"}
    if told.keys() != ({"success", "error"} if success else {"error"}):
        found.append(str(told.keys()))
    own = told["error"].keys() | ({"details"} if shape is CLORO_SHAPE else set())
    return found + ([] if own == shape.keys else [str(own)])
