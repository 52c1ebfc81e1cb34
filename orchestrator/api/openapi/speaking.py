"""How each system says an error: its words, its shape, an example of each."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from orchestrator.api.codes import STATUSES, Code
from orchestrator.api.dialects.asyncqueue import errors as asyncqueue
from orchestrator.api.dialects.asyncqueue.errors import AsyncQueueErrorDocument
from orchestrator.api.dialects.cloro import errors as cloro
from orchestrator.api.dialects.cloro.errors import CloroErrorDocument
from orchestrator.api.dialects.rodin import RodinErrorDocument
from orchestrator.api.dialects.shared import SharedErrorDocument
from orchestrator.api.openapi.examples import NOW
from orchestrator.api.openapi.operation import System
from orchestrator.api.problems import Error, ErrorDocument, Problem
from orchestrator.domain.times import rfc3339

REQUEST = "5f1c0a9be2d34c7788aa0011"
RECORDS = (*(SharedErrorDocument, CloroErrorDocument, AsyncQueueErrorDocument, RodinErrorDocument),)


class Spoken(NamedTuple):
    """A system's errors: the schema of their body, and what each response carries besides."""

    system: System
    schema: str
    document: Callable[[Problem], msgspec.Struct]
    word: Callable[[Code], str] = lambda code: code.value
    status: Callable[[Code], int] = lambda code: STATUSES[code].value
    headers: tuple[str, ...] = ()

    def example_name(self, code: Code) -> str:
        """What its example of this code is called in the document."""
        return code.value if self.system == "native" else f"{self.system}.{code.value}"

    def example(self, problem: Problem) -> Any:
        """The body of an error."""
        return msgspec.to_builtins(self.document(problem))


def _error(problem: Problem) -> Error:
    return Error(
        code=problem.code,
        message=problem.message,
        status=STATUSES[problem.code].value,
        timestamp=rfc3339(NOW),
        request_id=REQUEST,
        details=problem.details,
    )


def _native(problem: Problem) -> ErrorDocument:
    return ErrorDocument(error=_error(problem))


def _shared(problem: Problem) -> SharedErrorDocument:
    return SharedErrorDocument(error=_error(problem))


def _cloro(problem: Problem) -> CloroErrorDocument:
    error = msgspec.structs.replace(cloro.said(problem).error, timestamp=rfc3339(NOW))
    return CloroErrorDocument(error=error)


def _rodin(problem: Problem) -> RodinErrorDocument:
    return RodinErrorDocument(error=problem.code, message=problem.message)


ALL = (
    Spoken("native", "ErrorDocument", _native),
    Spoken("shared", "SharedErrorDocument", _shared),
    Spoken("cloro", "CloroErrorDocument", _cloro, cloro.word, cloro.status, ("X-Latency-Ms",)),
    Spoken("AsyncQueue", "AsyncQueueErrorDocument", asyncqueue.said),
    Spoken("Rodin", "RodinErrorDocument", _rodin),
)
_BY_SYSTEM = {spoken.system: spoken for spoken in ALL}


def of(system: System) -> Spoken:
    """How a system says errors."""
    return _BY_SYSTEM[system]
