"""The parameters of the operations. What a pattern leaves open, the description says."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from orchestrator.api.queries import IDEMPOTENCY_KEY, LARGEST_PAGE
from orchestrator.api.schemas import SURFACE

TEXT = {"type": "string"}
_JOB = r"job_[0-9a-v]{26}"


class Parameter(NamedTuple):
    """Something beside the body: where it stands, what it does, what it may be."""

    place: str
    description: str
    schema: dict[str, Any]
    examples: Sequence[str] = ()


PARAMETERS = {
    "job": Parameter(
        "path",
        "The id of a parent or of a child.",
        {"type": "string", "pattern": rf"^{_JOB}(\.[a-z][a-z0-9_]{{0,39}}\.[a-z0-9_-]{{1,255}})?$"},
    ),
    "surface": Parameter("path", "The surface to ask.", {"type": "string", "pattern": SURFACE}),
    "reservation": Parameter(
        "path",
        "The id of a reservation.",
        {"type": "string", "pattern": "^res_[0-9a-v]{26}$"},
    ),
    "mode": Parameter(
        "query",
        "`async`: 202 at once. `sync`: wait for the answer. Goes before `Prefer`.",
        {"enum": ["async", "sync"]},
    ),
    "view": Parameter(
        "query", "`flat`: surface, region, status and the text alone.", {"const": "flat"}
    ),
    "limit": Parameter(
        "query",
        f"How many results; {LARGEST_PAGE} when left out.",
        {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE},
    ),
    "cursor": Parameter(
        "query",
        "`nextCursor` of the page before, as it came; any other text is refused.",
        {"type": "string", "pattern": "^[A-Za-z0-9_-]{2,16}$"},
    ),
    "ready": Parameter("query", "`1`: only with a live worker.", TEXT),
    "Prefer": Parameter(
        "header",
        "RFC 7240: `respond-async`, `wait=n` (seconds). What is malformed is ignored.",
        TEXT,
        ("respond-async", "wait=10", "respond-async, wait=1"),
    ),
    "Idempotency-Key": Parameter(
        "header",
        "As `idempotencyKey` of the body; both may be given when they are equal. In a batch the"
        " item at place i without a key of its own has this one, `#` and i.",
        {"type": "string", "pattern": IDEMPOTENCY_KEY},
    ),
    "X-Reservation": Parameter(
        "header",
        "The id of a reservation to draw places from before the queue's own. One that is unknown,"
        " spent or expired is ignored.",
        TEXT,
    ),
    "atomic": Parameter(
        "query",
        "`true`: all items are stored or none. `false`: each by itself, as when left out.",
        {"enum": ["true", "false"]},
    ),
    "X-Request-ID": Parameter(
        "header",
        "Comes back, and stands in the server's log, if it is 1 to 128 of A-Z a-z 0-9 . _ -.",
        TEXT,
    ),
}


def described(name: str) -> dict[str, Any]:
    """A parameter of the document."""
    parameter = PARAMETERS[name]
    examples = {text: {"value": text} for text in parameter.examples}
    return {
        "name": name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": parameter.schema,
        **({"examples": examples} if examples else {}),
    }
