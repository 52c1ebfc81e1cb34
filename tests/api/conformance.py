"""Which shape the errors of a path have, said once more and otherwise: by CONTRACT.md."""

import re
from typing import Any, NamedTuple

import httpx
import jsonschema

from orchestrator.api import openapi

DOCUMENT = openapi.document()
NATIVE_ASYNC = re.compile("/v1/async/(preflight|reservations/.+|status/stream)", re.DOTALL)
SHARED = ("/v1/async/status", "/v1/async/queue")
CLORO = ("/v1/monitor", "/v1/countries", "/v1/credits")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ABSENT = "absent"
"""Details that are not there, as others are null."""


class Shape(NamedTuple):
    """The schema of an error and, where it is closed, all of its keys."""

    schema: str
    keys: frozenset[str]


NATIVE = Shape(
    "ErrorDocument",
    frozenset({"code", "message", "status", "timestamp", "requestId", "details"}),
)
SHARED_SHAPE = Shape("SharedErrorDocument", NATIVE.keys)
CLORO_SHAPE = Shape("CloroErrorDocument", frozenset({"code", "message", "details", "timestamp"}))
QUEUE_SHAPE = Shape("AsyncQueueErrorDocument", frozenset({"code", "message"}))
RODIN_SHAPE = Shape("RodinErrorDocument", frozenset())
SYSTEMS = {
    "native": NATIVE,
    "shared": SHARED_SHAPE,
    "cloro": CLORO_SHAPE,
    "asyncqueue": QUEUE_SHAPE,
    "rodin": RODIN_SHAPE,
}


class Told(NamedTuple):
    """What a client reads of an error; details are ABSENT where its system has none."""

    code: str
    message: str
    details: Any


def shape(path: str, status: int) -> Shape:
    """The shape of the errors of a path, whether or not something is served there."""
    bare = re.sub("/+", "/", path).rstrip("/")
    if bare in SHARED:
        return SHARED_SHAPE
    if bare.startswith("/v1/async/") and not NATIVE_ASYNC.fullmatch(bare):
        return CLORO_SHAPE
    if any(bare == one or bare.startswith(f"{one}/") for one in CLORO):
        return CLORO_SHAPE
    if bare == "/v1/tasks" or bare.startswith("/v1/tasks/"):
        return QUEUE_SHAPE
    if bare == "/api/v2" or bare.startswith("/api/v2/"):
        return RODIN_SHAPE
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


def told(answer: httpx.Response, system: str) -> Told:
    """What an error says; all of it, and what it comes with, is as errors of this system are."""
    assert shape(answer.request.url.path, answer.status_code) is SYSTEMS[system]
    body = answer.json()
    assert faults(SYSTEMS[system], body) == []
    assert body.get("success", False) is False
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Parallax-Version"]
    assert ("X-Latency-Ms" in answer.headers) == (system == "cloro")
    error = {"code": body["error"], **body} if system == "rodin" else body["error"]
    request, status = answer.headers["X-Request-ID"], answer.status_code
    assert error.get("requestId", request) == request
    assert error.get("status", status) == status
    assert TIME.fullmatch(error.get("timestamp", "2026-01-01T00:00:00.000Z"))
    assert error["message"]
    return Told(error["code"], error["message"], error.get("details", ABSENT))


class Path(NamedTuple):
    """What is asked, of one of the four systems or of two of them."""

    method: str
    path: str
    system: str
    body: Any = None


CLORO_ID = "0199f3a0-5c00-7007-8000-0242ac120002"
ID = "06h00r4h1trtr7pjt7b69j1f04"
SEARCHED = {"query": "tea", "surfaces": ["chatgpt"]}
TASK = {"taskType": "CHATGPT", "payload": {"prompt": "tea?", "country": "GB"}}
CALLED = {"queue": "q", "webhook_url": "https://a.example/"}
SEARCH = Path("POST", "/v1/search", "native", SEARCHED)
SYNC = Path("POST", "/v1/search/chatgpt", "native", {"prompt": "tea"})
PREFLIGHT = Path("POST", "/v1/async/preflight", "native", {"jobs": 1, "surfaces": ["chatgpt"]})
CREATE = Path("POST", "/v1/async/task", "cloro", TASK)
BATCH = Path("POST", "/v1/async/task/batch", "cloro", [TASK])
MONITOR = Path("POST", "/v1/monitor/chatgpt", "cloro", TASK["payload"])
QUEUED = Path("POST", "/v1/tasks", "asyncqueue", CALLED)
SERVED = (
    *(SEARCH, SYNC, PREFLIGHT, CREATE, BATCH, MONITOR, QUEUED),
    Path("GET", "/v1/jobs", "native"),
    Path("GET", f"/v1/jobs/job_{ID}", "native"),
    Path("DELETE", f"/v1/async/reservations/res_{ID}", "native"),
    Path("GET", "/v1/async/status/stream", "native"),
    Path("GET", "/v1/async/status", "shared"),
    Path("DELETE", "/v1/async/queue", "shared"),
    Path("GET", f"/v1/async/task/{CLORO_ID}", "cloro"),
    Path("GET", "/v1/countries", "cloro"),
    Path("GET", "/v1/credits", "cloro"),
    Path("GET", "/v1/tasks", "asyncqueue"),
    Path("GET", f"/v1/tasks/task_{ID}", "asyncqueue"),
    Path("DELETE", f"/v1/tasks/task_{ID}", "asyncqueue"),
    Path("GET", "/api/v2/queue_status_check", "rodin"),
)
UNKNOWN = (
    ("/v1//async//nothing", "cloro"),
    ("/v1///tasks/x/y", "asyncqueue"),
    ("/api//v2/nothing", "rodin"),
    ("/v1/nothing", "native"),
    ("/v1/async", "native"),
    ("/v1/async/reservations/x/y", "native"),
    ("/v1/async/reservations", "cloro"),
    ("/v1/async/preflight/x", "cloro"),
    ("/v1/async/status/x", "cloro"),
    ("/v1/async/status/stream/x", "cloro"),
    ("/v1/async/queue/x", "cloro"),
    ("/v1/async/nothing", "cloro"),
    ("/v1/async/task/x/y", "cloro"),
    ("/v1/monitor", "cloro"),
    ("/v1/monitor/x/y", "cloro"),
    ("/v1/countries/x", "cloro"),
    ("/v1/credits/x", "cloro"),
    ("/v1/creditsx", "native"),
    ("/v1/tasks/x/y", "asyncqueue"),
    ("/v1/tasksx", "native"),
    ("/api/v2/nothing", "rodin"),
    ("/api/v2", "rodin"),
    ("/api/v2x", "native"),
)
NULL = {"native": None, "shared": None}
"""How no details are told there; elsewhere they are absent."""
WORDS = {
    "VALIDATION_FAILED": "VALIDATION_ERROR",
    "JOB_NOT_FOUND": "RESOURCE_NOT_FOUND",
    "NOT_FOUND": "RESOURCE_NOT_FOUND",
    "IDEMPOTENCY_CONFLICT": "RESOURCE_ALREADY_EXISTS",
    "QUEUE_CAPACITY_EXCEEDED": "QUEUE_LIMIT_EXCEEDED",
}
"""What cloro calls otherwise than natively."""


def word(code: str, system: str) -> str:
    """What a system calls what natively has this code."""
    return WORDS.get(code, code) if system == "cloro" else code


def refused(
    answer: httpx.Response, system: str, status: int, code: str, details: Any = None
) -> Told:
    """It has this status, the system's word for this native code, and these details or none."""
    assert answer.status_code == status, answer.text
    said = told(answer, system)
    assert said.code == word(code, system)
    assert said.details == (NULL.get(system, ABSENT) if details is None else details)
    return said


def later(answer: httpx.Response) -> int:
    """When to come back, in whole seconds."""
    assert re.fullmatch("[1-9]|[1-5][0-9]|60", answer.headers["Retry-After"])
    return int(answer.headers["Retry-After"])


def watched(answer: httpx.Response, system: str, **native: Any) -> Any:
    """The details of a 429 in its system, if there; its headers are those of every 429."""
    seconds = later(answer)
    for name in ("Limit", "Running", "Queued"):
        assert answer.headers[f"X-Concurrency-{name}"].isdigit()
    match system:
        case "native" | "shared":
            return native | {"retryAfterSeconds": seconds}
        case "cloro":
            return {"limit": native["limit"]}
    return None


def wrong(asked: Path, where: str, message: str) -> Any:
    """The details of one fault in their system, if there."""
    match asked.system:
        case "native" | "shared":
            return [{"path": where, "message": message}]
        case "cloro":
            faults = [{"field": where, "message": message}]
            return {"errors": faults} if asked.path.endswith("/batch") else faults
    return None
