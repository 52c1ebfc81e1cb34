"""cloro's errors: its words, its shape, and the headers of each of its responses."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Literal, NamedTuple, cast

from litestar.types import Scope
from msgspec import UNSET, UnsetType

from orchestrator.api.codes import STATUSES, Code
from orchestrator.api.denials import Watched
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.replies import Header, Reply, document
from orchestrator.api.styles import Style
from orchestrator.domain.envelope import Wire
from orchestrator.domain.times import rfc3339

_WORDS: Mapping[Code, str] = {
    Code.VALIDATION_FAILED: "VALIDATION_ERROR",
    Code.UNSUPPORTED_SURFACE: "VALIDATION_ERROR",
    Code.UNSUPPORTED_REGION: "VALIDATION_ERROR",
    Code.JOB_NOT_FOUND: "RESOURCE_NOT_FOUND",
    Code.NOT_FOUND: "RESOURCE_NOT_FOUND",
    Code.IDEMPOTENCY_CONFLICT: "RESOURCE_ALREADY_EXISTS",
    Code.QUEUE_CAPACITY_EXCEEDED: "QUEUE_LIMIT_EXCEEDED",
    Code.SURFACE_TIMEOUT: "INTERNAL_SERVER_ERROR",
    Code.SURFACE_UNAVAILABLE: "SERVICE_UNAVAILABLE",
}
"""What is called otherwise than natively."""
_STATUSES = {Code.SURFACE_TIMEOUT: HTTPStatus.INTERNAL_SERVER_ERROR}


class CloroFault(Wire):
    """One thing wrong with a request, and where."""

    field: str
    message: str


class CloroFaults(Wire):
    """The details of what is wrong in a batch."""

    errors: tuple[CloroFault, ...]


class CloroLimit(Wire):
    """The details of a 429."""

    limit: int


class CloroTaken(Wire, kw_only=True):
    """The details of an idempotency key that stands for another task."""

    field: Literal["idempotencyKey"] = "idempotencyKey"
    value: str


class CloroError(Wire, kw_only=True):
    """What clients read of a problem; `details` are left out where there are none."""

    code: str
    message: str
    details: Any | UnsetType = UNSET
    timestamp: str


class CloroErrorDocument(Wire, kw_only=True):
    """The body of every error."""

    success: Literal[False] = False
    error: CloroError


def word(code: Code) -> str:
    """What cloro calls this code."""
    return _WORDS.get(code, code.value)


def status(code: Code) -> int:
    """The status it comes with."""
    return _STATUSES.get(code, STATUSES[code]).value


class Said(NamedTuple):
    """A problem in cloro's words."""

    status: int
    error: CloroError


def said(problem: Problem, *, batch: bool = False) -> Said:
    """The problem; faults in a batch are one level deeper."""
    error = CloroError(
        code=word(problem.code),
        message=problem.message,
        details=_details(problem.details, batch=batch),
        timestamp=rfc3339(datetime.now(UTC)),
    )
    return Said(status(problem.code), error)


def refuse(problem: Problem, scope: Scope) -> Reply:
    """The problem as a response."""
    told = said(problem, batch=scope["path"].rstrip("/").endswith("/batch"))
    body = CloroErrorDocument(error=told.error)
    headers = problem.headers
    if scope["path"].lstrip("/").startswith("v1/monitor"):
        headers = (*headers, *_sync(dict(headers)))
    return document(body, status=told.status, headers=headers)


def _sync(told: Mapping[bytes, bytes]) -> Iterator[Header]:
    """What a 429 tells of the sync budget natively, by the names of monitors."""
    if b"x-concurrency-running" in told:
        limit, running = int(told[b"x-concurrency-limit"]), int(told[b"x-concurrency-running"])
        yield b"x-concurrency-current", b"%d" % running
        yield b"x-concurrency-remaining", b"%d" % max(0, limit - running)


def _details(details: Any, *, batch: bool) -> Any:
    match details:
        case None:
            return UNSET
        case list():
            faults = tuple(
                CloroFault(field=fault.path, message=fault.message)
                for fault in cast("list[Fault]", details)
            )
            return CloroFaults(errors=faults) if batch else faults
        case Watched(limit=limit):
            return CloroLimit(limit=limit)
    return details


def _headers(scope: Scope) -> tuple[Header, ...]:
    began = cast("dict[str, float]", scope["state"]).get("began")
    spent = 0.0 if began is None else time.perf_counter() - began
    return ((b"x-latency-ms", b"%d" % round(1000 * spent)),)


STYLE = Style(refuse, _headers, any_case=False)
