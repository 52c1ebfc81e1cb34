"""cloro's tasks over HTTP: make one, read it."""

from typing import Any

from litestar import Request, get, post
from litestar.types import Scope

from orchestrator import submission
from orchestrator.api import asking, bodies, denials, problems, queries, services
from orchestrator.api.codes import Code
from orchestrator.api.dialects.cloro import requests
from orchestrator.api.dialects.cloro.errors import CloroTaken
from orchestrator.api.dialects.cloro.requests import Asked
from orchestrator.api.problems import Problem
from orchestrator.api.replies import Reply, document
from orchestrator.domain.dialects import cloro
from orchestrator.domain.dialects.cloro import Told
from orchestrator.domain.ids import EventId
from orchestrator.domain.rows import ParentRow
from orchestrator.store import children, deliveries, parents
from orchestrator.submission import Accepted, Conflict, Outcome, Replayed

AnyRequest = Request[Any, Any, Any]


@post("/v1/async/task", status_code=200)
async def create_task(request: AnyRequest) -> Reply:
    """`POST /v1/async/task`: 200 when it is stored."""
    scope = request.scope
    body = await bodies.read(scope, request.receive)
    answer = body if isinstance(body, Problem) else await _create(scope, body)
    return problems.reply(answer, scope) if isinstance(answer, Problem) else answer


async def _create(scope: Scope, body: bytes) -> Reply | Problem:
    here, key = services.of(scope), scope["auth"]
    existing = await here.catalogue()
    asked = requests.task(body, await here.rules(), existing)
    if isinstance(asked, Problem):
        return asked
    made = submission.new(asked.plan, idempotency_key=asked.idempotency_key)
    taken = await here.submitter.submit_all(
        key, [made], existing.surfaces, reservation=queries.reservation(scope)
    )
    (outcome,), left = taken.each, asking.remaining(taken)
    if not isinstance(outcome, Accepted):
        return denied(asked, outcome).beside(*left)
    async with here.pool.connection() as connection:
        row = await parents.read(connection, key_id=key.id, parent=outcome.parent)
    if row is None:
        return problems.task_not_found()  # cleared meanwhile
    return document(cloro.created(row), headers=left)


def denied(asked: Asked, met: Outcome) -> Problem:
    """Why a task was not taken in; whatever its idempotency key stands for, it is taken."""
    match met:
        case Replayed() | Conflict():
            value = asked.idempotency_key or ""
            message = "A task of this API key has this idempotency key."
            return Problem(Code.IDEMPOTENCY_CONFLICT, message, CloroTaken(value=value))
        case Accepted():
            raise AssertionError  # it was taken in
    return denials.denied(met)


@get("/v1/async/task/{taskId:str}")
async def read_task(request: AnyRequest) -> Reply:
    """`GET /v1/async/task/{taskId}`: what became of it."""
    scope = request.scope
    parent = cloro.read(scope["path_params"]["taskId"])
    found = None
    if parent is not None:
        here = services.of(scope)
        surfaces = (await here.catalogue()).surfaces
        async with here.reading() as connection:
            row = await parents.read(connection, key_id=scope["auth"].id, parent=parent)
            if row is not None and row.plan.task_type is not None:
                child = await children.one(connection, parent, 1)
                surface = surfaces.get(row.plan.surfaces[0])
                found = cloro.task_read(row, child, surface, await _told(connection, row))
    if found is None:
        return problems.reply(problems.task_not_found(), scope)
    return document(found)


async def _told(connection: Any, row: ParentRow) -> Told | None:
    if row.plan.webhook is None:
        return None
    event = EventId(row.id, 0, row.run)
    told = await deliveries.one(connection, key_id=row.key_id, event=event)
    return Told(told.delivered_at) if told else None
