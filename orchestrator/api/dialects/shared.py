"""The paths that native clients and cloro's have in common: their errors are what both read."""

from typing import Literal

from litestar.types import Scope

from orchestrator.api import problems
from orchestrator.api.problems import Error, Problem
from orchestrator.api.replies import Reply, document
from orchestrator.api.styles import Style
from orchestrator.domain.envelope import Wire


class SharedErrorDocument(Wire, kw_only=True):
    """The body of an error on a shared path: the native one, and `success`."""

    success: Literal[False] = False
    error: Error


def refuse(problem: Problem, scope: Scope) -> Reply:
    """The problem as a response."""
    told = problems.error(problem, scope)
    return document(SharedErrorDocument(error=told), status=told.status, headers=problem.headers)


STYLE = Style(refuse)
