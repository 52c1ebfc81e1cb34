"""AsyncQueue's tasks over HTTP."""

from typing import Any

from litestar import HttpMethod, Request, route
from litestar.types import Scope

from orchestrator import submission
from orchestrator.api import asking, bodies, denials, problems, queries, services
from orchestrator.api.dialects.asyncqueue import requests
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.replies import NOTHING, Header, Reply, document
from orchestrator.api.services import Services
from orchestrator.domain.dialects import asyncqueue
from orchestrator.domain.dialects.asyncqueue import QueuePagination, QueueTasks
from orchestrator.store import children, parents, steering, tasks
from orchestrator.store.steering import Erased
from orchestrator.submission import Accepted, Replayed

AnyRequest = Request[Any, Any, Any]


@route("/v1/tasks", http_method=[HttpMethod.GET, HttpMethod.POST], status_code=200)
async def every_task(request: AnyRequest) -> Reply:
    """`GET` and `POST /v1/tasks`: one handler, or what OPTIONS allows would be the first's."""
    scope = request.scope
    made = request.method == HttpMethod.POST
    answer = await (_create(request) if made else _list(scope))
    return problems.reply(answer, scope) if isinstance(answer, Problem) else answer


@route("/v1/tasks/{task:str}", http_method=[HttpMethod.GET, HttpMethod.DELETE], status_code=200)
async def one_task(request: AnyRequest) -> Reply:
    """`GET` and `DELETE` of a task."""
    scope = request.scope
    removed = request.method == HttpMethod.DELETE
    answer = await (_remove(scope) if removed else _read(scope))
    return problems.reply(answer, scope) if isinstance(answer, Problem) else answer


async def _create(request: AnyRequest) -> Reply | Problem:
    scope = request.scope
    here, key = services.of(scope), scope["auth"]
    body = await bodies.read(scope, request.receive)
    if isinstance(body, Problem):
        return body
    name = requests.idempotency_key(scope)
    if isinstance(name, Fault):
        return problems.invalid([name])
    existing = await here.catalogue()
    plan = requests.task(body, await here.rules(), existing)
    if isinstance(plan, Problem):
        return plan
    made = submission.new(plan, idempotency_key=name)
    taken = await here.submitter.submit_all(
        key, [made], existing.surfaces, reservation=queries.reservation(scope)
    )
    (outcome,), left = taken.each, asking.remaining(taken)
    if not isinstance(outcome, Accepted | Replayed):
        return denials.denied(outcome).beside(*left)
    return await _made(here, key.id, outcome, left)


async def _made(
    here: Services, key_id: int, outcome: Accepted | Replayed, left: tuple[Header, ...]
) -> Reply | Problem:
    """The task: as it was made, or, sent again, as it is."""
    async with here.reading() as connection:
        row = await parents.read(connection, key_id=key_id, parent=outcome.parent)
        child = await children.one(connection, outcome.parent, 1)
    if row is None:
        return problems.task_not_found()  # deleted meanwhile
    if isinstance(outcome, Accepted):
        return document(asyncqueue.created(row), status=201, headers=left)
    return document(asyncqueue.task(row, child), status=201, headers=(asking.REPLAYED, *left))


async def _list(scope: Scope) -> Reply | Problem:
    wanted = requests.wanted(queries.of(scope))
    if isinstance(wanted, Problem):
        return wanted
    asked = tasks.Wanted(scope["auth"].id, wanted.queue, wanted.status)
    async with services.of(scope).reading() as connection:
        rows = await tasks.page(connection, asked, limit=wanted.limit + 1, offset=wanted.offset)
        total = await tasks.total(connection, asked)
        shown = rows[: wanted.limit]
        cells = await children.firsts(connection, [row.id for row in shown])
    pagination = QueuePagination(
        total=total,
        limit=wanted.limit,
        offset=wanted.offset,
        has_more=len(rows) > wanted.limit,
    )
    listed = tuple(asyncqueue.task(row, cells.get(row.id)) for row in shown)
    return document(QueueTasks(tasks=listed, pagination=pagination))


async def _read(scope: Scope) -> Reply | Problem:
    parent = asyncqueue.read(scope["path_params"]["task"])
    if parent is None:
        return problems.task_not_found()
    async with services.of(scope).reading() as connection:
        row = await parents.read(connection, key_id=scope["auth"].id, parent=parent)
        if row is None or row.plan.queue is None:
            return problems.task_not_found()
        child = await children.one(connection, parent, 1)
    return document(asyncqueue.task_read(row, child))


async def _remove(scope: Scope) -> Reply | Problem:
    """What is not being called now, nor over, is gone with all that is known of it."""
    parent, key = asyncqueue.read(scope["path_params"]["task"]), scope["auth"]
    if parent is None:
        return problems.task_not_found()
    async with services.of(scope).pool.connection() as connection, connection.transaction():
        removed = await steering.dismiss(connection, key_id=key.id, parent=parent)
    match removed:
        case Erased():
            return NOTHING
        case None:
            return problems.task_not_found()
    return denials.not_deletable()
