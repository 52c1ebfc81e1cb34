"""AsyncQueue's errors: native codes, a shape of their own."""

from litestar.types import Scope

from orchestrator.api.codes import STATUSES
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.replies import Reply, document
from orchestrator.api.styles import Style
from orchestrator.domain.envelope import Wire


class AsyncQueueError(Wire):
    """What clients read of a problem."""

    code: str
    message: str


class AsyncQueueErrorDocument(Wire):
    """The body of every error."""

    error: AsyncQueueError


def refuse(problem: Problem, scope: Scope) -> Reply:  # noqa: ARG001 - any style is asked so
    """The problem as a response."""
    return document(said(problem), status=STATUSES[problem.code], headers=problem.headers)


def said(problem: Problem) -> AsyncQueueErrorDocument:
    """The problem: of what natively are details faults stand in the message."""
    error = AsyncQueueError(code=problem.code, message=_message(problem))
    return AsyncQueueErrorDocument(error=error)


def _message(problem: Problem) -> str:
    faults = problem.details if isinstance(problem.details, list) else []
    told = " ".join(_said(fault) for fault in faults)
    return told or problem.message


def _said(fault: Fault) -> str:
    return f"{fault.path}: {fault.message}" if fault.path else fault.message


STYLE = Style(refuse)
