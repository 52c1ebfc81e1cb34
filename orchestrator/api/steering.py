"""Steering over HTTP: cancel, retry and erase a job, clear a queue."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from uuid import UUID

from litestar import Request, delete, post
from psycopg import AsyncConnection

from admission import gate
from admission.deciding import Stored
from admission.keys import Key
from orchestrator.api import denials, problems, queries, reading, retries, services
from orchestrator.api.problems import Problem
from orchestrator.api.replies import NOTHING, Header, Reply, document
from orchestrator.api.retries import RetryRequest
from orchestrator.api.services import Services
from orchestrator.domain import ids
from orchestrator.domain.ids import ChildId, ParentId
from orchestrator.domain.many import Cleared
from orchestrator.store import parents, steering, strands
from orchestrator.store.steering import Again, Canceled, Erased, NotCancelable, NotRetryable

AnyRequest = Request[Any, Any, Any]
JobId = ParentId | ChildId
Steer = Callable[[Services, Key, JobId], Awaitable[Reply | Problem]]


@post("/v1/jobs/{job:str}/cancel")
async def cancel(request: AnyRequest) -> Reply:
    """Cancel a parent or a child: 200 with the job, repeats too."""
    return await _steered(request, _cancel)


async def remove(request: AnyRequest) -> Reply:
    """Erase an ended parent, 204; cancel what has not ended."""
    return await _steered(request, _remove)


@post("/v1/jobs/{job:str}/retry")
async def retry(request: AnyRequest) -> Reply:
    """Start the next run of an ended parent, for those of its cells that found no answer."""
    asked = await retries.read(request.scope, request.receive)
    if isinstance(asked, Problem):
        return problems.reply(asked, request.scope)

    async def again(here: Services, key: Key, job: JobId) -> Reply | Problem:
        return await _retry(here, key, job, asked)

    return await _steered(request, again)


@delete("/v1/async/queue", status_code=HTTPStatus.OK)
async def clear(request: AnyRequest) -> Reply:
    """Cancel what the key has accepted before and not started, a batch at a time."""
    scope = request.scope
    if faults := queries.unknown(scope):
        return problems.reply(problems.invalid(faults), scope)
    here, key = services.of(scope), scope["auth"]
    async with here.pool.connection() as connection:
        before = await steering.clock(connection)
    cleared = 0
    for state in steering.CLEARED:
        more = True
        while more:
            async with here.pool.connection() as connection, connection.transaction():
                swept = await steering.clear(connection, key_id=key.id, state=state, before=before)
            cleared, more = cleared + swept.parents, swept.more
    return document(Cleared(cleared=cleared))


async def _steered(request: AnyRequest, steer: Steer) -> Reply:
    scope = request.scope
    job = ids.read(scope["path_params"]["job"])
    if faults := queries.unknown(scope):
        return problems.reply(problems.invalid(faults), scope)
    answer: Reply | Problem = problems.job_not_found()
    if job is not None:
        answer = await steer(services.of(scope), scope["auth"], job)
    return problems.reply(answer, scope) if isinstance(answer, Problem) else answer


async def _cancel(here: Services, key: Key, job: JobId) -> Reply | Problem:
    async with here.pool.connection() as connection, connection.transaction():
        outcome = await _canceled(connection, key, job)
    return await _told(here, key, job, outcome)


async def _canceled(
    connection: AsyncConnection, key: Key, job: JobId
) -> Canceled | NotCancelable | None:
    ordinal = await _ordinal(connection, key, job)
    if ordinal is None:
        return None
    return await steering.cancel(
        connection, key_id=key.id, parent=job.parent, ordinal=ordinal or None
    )


async def _told(
    here: Services, key: Key, job: JobId, outcome: Canceled | NotCancelable | None
) -> Reply | Problem:
    match outcome:
        case None:
            return problems.job_not_found()
        case NotCancelable():
            return denials.not_cancelable()
        case Canceled():
            return await _read(here, key, job, HTTPStatus.OK)


async def _remove(here: Services, key: Key, job: JobId) -> Reply | Problem:
    if not isinstance(job, ParentId):
        return await _cancel(here, key, job)
    async with here.pool.connection() as connection, connection.transaction():
        erased = await steering.erase(connection, key_id=key.id, parent=job.parent)
        if isinstance(erased, Erased):
            return NOTHING
        outcome = await _canceled(connection, key, job)  # nor does it end meanwhile
    return await _told(here, key, job, outcome)


async def _retry(here: Services, key: Key, job: JobId, asked: RetryRequest) -> Reply | Problem:
    async with here.pool.connection() as connection, connection.transaction():
        ordinal = await _ordinal(connection, key, job)
        if ordinal is None:
            return problems.job_not_found()
        found = await steering.retryable(
            connection,
            key_id=key.id,
            parent=job.parent,
            statuses=asked.ends,
            ordinal=ordinal or None,
        )
        match found:
            case None:
                return problems.job_not_found()
            case NotRetryable(ended):
                return denials.not_retryable(ended=ended)
            case Again():
                admitted = await gate.enter(connection, found.demand(key.id), strands.resumes)
                if not isinstance(admitted, Stored):
                    return denials.denied(admitted)
                await steering.again(connection, found)
    return await _read(here, key, job, HTTPStatus.ACCEPTED)


async def _ordinal(connection: AsyncConnection, key: Key, job: JobId) -> int | None:
    """The cell a child id names; 0 for a parent's id; None when the key has no such cell."""
    if isinstance(job, ParentId):
        return 0
    plan = await parents.plan_of(connection, key_id=key.id, parent=job.parent)
    cell = plan.find(job.surface, job.region) if plan else None
    return cell.ordinal if cell else None


async def _read(here: Services, key: Key, job: JobId, status: HTTPStatus) -> Reply | Problem:
    """The job as it is now."""
    existing = await here.catalogue()
    async with here.reading() as connection:
        found = (
            await reading.job(connection, key_id=key.id, parent=job.parent)
            if isinstance(job, ParentId)
            else await reading.cell(connection, existing, key_id=key.id, child=job)
        )
    if found is None:
        return problems.job_not_found()  # erased meanwhile
    return document(found, status=status, headers=_location(status, job.parent))


def _location(status: HTTPStatus, parent: UUID) -> tuple[Header, ...]:
    if status is not HTTPStatus.ACCEPTED:
        return ()
    return ((b"location", f"/v1/jobs/{ids.text(parent)}".encode()),)
