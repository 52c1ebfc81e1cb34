"""Rodin: how busy each surface is, of the whole server."""

from typing import Any

from litestar import Request, get
from litestar.types import Scope

from orchestrator.api import services
from orchestrator.api.codes import STATUSES
from orchestrator.api.problems import Problem
from orchestrator.api.replies import Reply, document
from orchestrator.api.styles import Style
from orchestrator.domain.dialects import rodin
from orchestrator.domain.envelope import Wire


class RodinErrorDocument(Wire):
    """The body of an error."""

    error: str
    message: str


def refuse(problem: Problem, scope: Scope) -> Reply:  # noqa: ARG001 - any style is asked so
    """The problem as a response."""
    said = RodinErrorDocument(error=problem.code, message=problem.message)
    return document(said, status=STATUSES[problem.code], headers=problem.headers)


STYLE = Style(refuse)


@get("/api/v2/queue_status_check")
async def queue_status_check(request: Request[Any, Any, Any]) -> Reply:
    """`GET /api/v2/queue_status_check`: consumers and cells, surface by surface."""
    here = services.of(request.scope)
    existing = await here.catalogue()
    key_id = request.scope["auth"].id if here.settings.rodin_scope == "key" else None
    load = await here.load(key_id)
    return document(rodin.status(existing.surfaces.values(), existing.workers, load))
