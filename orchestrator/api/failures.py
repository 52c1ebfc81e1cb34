"""What was raised, said as a problem: Litestar's refusals, the database away, the rest."""

import traceback
from http import HTTPStatus
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
)
from litestar.types import ExceptionHandlersMap

from admission.batches import ClosedError
from orchestrator.api import problems
from orchestrator.api.problems import Problem
from orchestrator.api.stamps import request_id
from orchestrator.patience import DATABASE_AWAY

AnyRequest = Request[Any, Any, Any]
log = structlog.get_logger()


def not_found(request: AnyRequest, error: Exception) -> Response[bytes]:  # noqa: ARG001
    """A path that is not one."""
    return _response(request, problems.not_found())


def method_not_allowed(request: AnyRequest, error: MethodNotAllowedException) -> Response[bytes]:
    """A path asked with a method it does not have; `Allow` says which it has."""
    allowed = (error.headers or {}).get("allow", "").split(", ")
    return _response(request, problems.method_not_allowed(", ".join(sorted(allowed))))


def malformed(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """A request Litestar refused to read."""
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return surprise(request, error)
    return _response(request, problems.fault("", error.detail))


def database_away(request: AnyRequest, error: Exception) -> Response[bytes]:
    """The database is away or takes no more: come back soon."""
    log.warning("request.unserved", path=request.url.path, reason=type(error).__name__)
    return _response(request, problems.database_away())


def shutting_down(request: AnyRequest, error: Exception) -> Response[bytes]:  # noqa: ARG001
    """Asked for after the last flush of a process that is leaving."""
    return _response(request, problems.shutting_down())


def surprise(request: AnyRequest, error: Exception) -> Response[bytes]:
    """A fault of this server: logged with its stack, told without internals.

    The stack is text made here: a log that shows local variables would show the caller's key.
    """
    log.error(
        "request.failed",
        path=request.url.path,
        request_id=request_id(request.scope),
        stack="".join(traceback.format_exception(error)),
    )
    return _response(request, problems.surprise())


def _response(request: AnyRequest, problem: Problem) -> Response[bytes]:
    answer = problems.reply(problem, request.scope)
    headers = {name.decode(): value.decode() for name, value in problem.headers}
    return Response(
        answer.body, status_code=answer.status, headers=headers, media_type="application/json"
    )


HANDLERS: ExceptionHandlersMap = {
    NotFoundException: not_found,
    MethodNotAllowedException: method_not_allowed,
    HTTPException: malformed,
    **dict.fromkeys(DATABASE_AWAY, database_away),
    ClosedError: shutting_down,
    Exception: surprise,
}
