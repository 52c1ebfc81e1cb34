"""An operation of the OpenAPI document: one method of one path, and what it may answer."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from orchestrator.api.codes import Code

JSON = "application/json"
NDJSON = "application/x-ndjson"
SSE = "text/event-stream"
TEXT = "text/plain"
FAILS = (Code.INTERNAL_SERVER_ERROR, Code.SERVICE_UNAVAILABLE)
KEYED = (
    Code.MISSING_API_KEY,
    Code.INVALID_API_KEY_FORMAT,
    Code.INVALID_OR_EXPIRED_API_KEY,
    Code.RATE_LIMIT_EXCEEDED,
    *FAILS,
)


class Answer(NamedTuple):
    """A success: what it means, its documents by media type, its headers and where it leads."""

    meaning: str
    documents: Mapping[str, tuple[str, ...]]
    headers: Sequence[str] = ()
    sometimes: Sequence[str] = ()
    links: Sequence[str] = ()


System = Literal["native", "shared", "cloro", "AsyncQueue", "Rodin"]
"""Who speaks so: its errors are of its shape. What is shared is native and cloro's."""


class Operation(NamedTuple):
    """One method of one path, with its answers by status; `body` names the record it takes."""

    name: str
    method: str
    path: str
    summary: str
    tag: str
    answers: Mapping[int, Answer]
    errors: Sequence[Code]
    parameters: Sequence[str] = ()
    body: str | None = None
    body_required: bool = True
    keyed: bool = True
    system: System = "native"
