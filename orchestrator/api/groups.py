"""Groups over HTTP: what a group has, and what is asked of all of it."""

import re
from http import HTTPStatus
from typing import Any, Literal

from litestar import Request, get, post
from psycopg import AsyncConnection

from admission.keys import Key
from orchestrator.api import problems, queries, retries, services
from orchestrator.api.problems import Problem
from orchestrator.api.replies import Reply, document
from orchestrator.api.schemas import GROUP
from orchestrator.domain.many import CellsByStatus, GroupView, Matched, ParentsByStatus
from orchestrator.store import group_actions, groups

AnyRequest = Request[Any, Any, Any]


@get("/v1/groups/{group:str}")
async def group(request: AnyRequest) -> Reply:
    """The counts of a group, as the database keeps them."""
    scope = request.scope
    name = scope["path_params"]["group"]
    async with services.of(scope).pool.connection() as connection:
        found = await _find(connection, scope["auth"], name)
        if found is None:
            return problems.reply(problems.group_not_found(), scope)
        counted = await groups.counted(connection, found)
    view = GroupView(
        group=name,
        parents=ParentsByStatus(**counted.parents),
        cells=CellsByStatus(**counted.cells),
    )
    return document(view)


@post("/v1/groups/{group:str}/cancel")
async def cancel_group(request: AnyRequest) -> Reply:
    """Have every parent of a group canceled; workers do it, a batch at a time."""
    return await _ask(request, "cancel", ())


@post("/v1/groups/{group:str}/retry")
async def retry_group(request: AnyRequest) -> Reply:
    """Have every ended parent of a group retried, as there is room."""
    asked = await retries.read(request.scope, request.receive)
    if isinstance(asked, Problem):
        return problems.reply(asked, request.scope)
    return await _ask(request, "retry", asked.ends)


async def _ask(
    request: AnyRequest, kind: Literal["cancel", "retry"], statuses: tuple[str, ...]
) -> Reply:
    scope = request.scope
    name, key = scope["path_params"]["group"], scope["auth"]
    if faults := queries.unknown(scope):
        return problems.reply(problems.invalid(faults), scope)
    async with services.of(scope).pool.connection() as connection, connection.transaction():
        found = await _find(connection, key, name)
        if found is None:
            return problems.reply(problems.group_not_found(), scope)
        matched = await group_actions.request(
            connection, key_id=key.id, group_id=found, kind=kind, statuses=statuses
        )
    return document(Matched(group=name, matched=matched), status=HTTPStatus.ACCEPTED)


async def _find(connection: AsyncConnection, key: Key, name: str) -> int | None:
    """The id of a group of this key that has a parent."""
    if not re.fullmatch(GROUP, name):
        return None
    found = (await groups.find(connection, [(key.id, name)])).get((key.id, name))
    return found if found is not None and await groups.inhabited(connection, found) else None
