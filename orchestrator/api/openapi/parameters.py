"""The parameters of the operations. What a pattern leaves open, the description says."""

from typing import Any

from orchestrator.api.listing import STATUSES
from orchestrator.api.moments import PATTERN
from orchestrator.api.openapi.delivering import PARAMETERS as DELIVERING
from orchestrator.api.openapi.dialects import PARAMETERS as DIALECTS
from orchestrator.api.openapi.parameter import NEXT_PAGE, TEXT, Parameter
from orchestrator.api.queries import IDEMPOTENCY_KEY, LARGEST_PAGE, LONGEST_WAIT_SECONDS
from orchestrator.api.schemas import GROUP, SURFACE
from orchestrator.operating import COUNTRY
from orchestrator.watchers import MOST

_JOB = r"job_[0-9a-v]{26}"


PARAMETERS = {
    "job": Parameter(
        "path",
        "The id of a parent or of a child.",
        {"type": "string", "pattern": rf"^{_JOB}(\.[a-z][a-z0-9_]{{0,39}}\.[a-z0-9_-]{{1,255}})?$"},
    ),
    "surface": Parameter("path", "The name of a surface.", {"type": "string", "pattern": SURFACE}),
    "country": Parameter(
        "path",
        "The country a lane looks from, in any case; `GLOBAL` of queues.",
        {"type": "string", "pattern": f"^({COUNTRY})$"},
    ),
    "group": Parameter("path", "The name of a group.", {"type": "string", "pattern": GROUP}),
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
        NEXT_PAGE,
        {"type": "string", "pattern": "^[A-Za-z0-9_-]{2,16}$"},
    ),
    "status": Parameter(
        "query",
        "Only jobs of this status; `queued` are delayed ones too.",
        {"enum": list(STATUSES)},
    ),
    "ofSurface": Parameter(
        "query",
        "Only jobs that ask this surface; with `region`, that ask it from there.",
        {"type": "string", "pattern": SURFACE},
        name="surface",
    ),
    "region": Parameter(
        "query",
        "Only jobs that look from this country.",
        {"type": "string", "pattern": "^[A-Za-z]{2}$"},
    ),
    "ofGroup": Parameter(
        "query", "Only jobs of this group.", {"type": "string", "pattern": GROUP}, name="group"
    ),
    "metadata": Parameter(
        "query",
        "Only jobs whose metadata has this value under this key. Several: all of them.",
        {"type": "string", "maxLength": 512, "pattern": "^[^\u0000]*$"},
        name="metadata.{key}",
    ),
    "createdAfter": Parameter(
        "query",
        "Only jobs accepted then or later.",
        {"type": "string", "format": "date-time", "pattern": PATTERN},
    ),
    "createdBefore": Parameter(
        "query",
        "Only jobs accepted before.",
        {"type": "string", "format": "date-time", "pattern": PATTERN},
    ),
    "ofKey": Parameter(
        "query",
        "The jobs of the key of this name, for an operator key; to any other there is no such key.",
        TEXT,
        name="key",
    ),
    "listCursor": Parameter(
        "query",
        NEXT_PAGE,
        {"type": "string", "pattern": "^[A-Za-z0-9_-]{23}$"},
        name="cursor",
    ),
    "groupCursor": Parameter(
        "query",
        NEXT_PAGE,
        {"type": "string", "pattern": "^[A-Za-z0-9_-]{26}$"},
        name="cursor",
    ),
    **DELIVERING,
    **DIALECTS,
    "wait": Parameter(
        "query",
        "Of a parent that has not ended: hold the answer until the status of the parent or of a"
        " child, or its attempts, have changed, for so many seconds at most. When this key has as"
        f" many streams and long polls open as it may ({MOST}), it is answered at once.",
        {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT_SECONDS},
    ),
    "Last-Event-ID": Parameter(
        "header",
        "The id of the last event that came: the stream goes on after it. Any other text is"
        " ignored.",
        TEXT,
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
        "The id of a reservation: what waits in the queue takes its places first. One that is"
        " unknown, spent or expired is ignored.",
        TEXT,
    ),
    "atomic": Parameter(
        "query",
        "`true`: all items are stored or none. `false`: each by itself, as when left out.",
        {"enum": ["true", "false"]},
    ),
    "If-None-Match": Parameter(
        "header",
        "Beside `wait`: the `ETag` of the read before. What has changed since is told at once.",
        TEXT,
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
        "name": parameter.name or name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": parameter.schema,
        **({"examples": examples} if examples else {}),
    }
