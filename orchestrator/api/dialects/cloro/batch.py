"""cloro's batches: a bare array of tasks, each by itself once there is room for all."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import anyio.lowlevel
import msgspec
from litestar import Request, post
from litestar.types import Receive, Scope

from orchestrator import submission
from orchestrator.api import asking, bodies, denials, problems, queries, services
from orchestrator.api.batching import AT_A_TIME, LARGEST_BYTES, MOST_ITEMS
from orchestrator.api.dialects.cloro import errors, requests, tasks
from orchestrator.api.dialects.cloro.errors import CloroError
from orchestrator.api.dialects.cloro.requests import Asked
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.replies import Reply, document
from orchestrator.api.services import Services
from orchestrator.domain.dialects import cloro
from orchestrator.domain.dialects.cloro import CloroCredits, CloroTask
from orchestrator.domain.envelope import Wire
from orchestrator.domain.rows import ParentRow
from orchestrator.store import parents
from orchestrator.submission import Accepted, Outcome, Outcomes


class CloroSummary(Wire):
    """How many tasks there were, and what became of them."""

    total: int
    succeeded: int
    failed: int


class CloroMade(Wire, kw_only=True):
    """A task of the batch that was taken in."""

    success: Literal[True] = True
    index: int
    task: CloroTask
    credits: CloroCredits


class CloroNotMade(Wire, kw_only=True):
    """A task of the batch that was not."""

    success: Literal[False] = False
    index: int
    error: CloroError


class CloroBatchAnswer(Wire, kw_only=True):
    """What became of each task, in order."""

    success: Literal[True] = True
    summary: CloroSummary
    results: tuple[Any, ...]  # of `CloroMade` and `CloroNotMade`


@post("/v1/async/task/batch", status_code=200)
async def create_tasks(request: Request[Any, Any, Any]) -> Reply:
    """`POST /v1/async/task/batch`: 1 to 500 tasks for the price of one request."""
    scope = request.scope
    raw = await _split(scope, request.receive)
    answer = raw if isinstance(raw, Problem) else await _create(scope, raw)
    return problems.reply(answer, scope) if isinstance(answer, Problem) else answer


async def _split(scope: Scope, receive: Receive) -> tuple[msgspec.Raw, ...] | Problem:
    """The tasks as they were sent, or what is wrong around them."""
    body = await bodies.read(scope, receive, largest=LARGEST_BYTES)
    if isinstance(body, Problem):
        return body
    items = await bodies.items(body)
    if isinstance(items, Fault):
        return problems.invalid([items])
    if not 1 <= len(items) <= MOST_ITEMS:
        return problems.fault("", f"Must be a list of 1 to {MOST_ITEMS} tasks.")
    return items


async def _create(scope: Scope, raw: Sequence[msgspec.Raw]) -> Reply | Problem:
    here, key = services.of(scope), scope["auth"]
    existing = await here.catalogue()
    if not existing.surfaces:
        return problems.no_surfaces()
    read = await _read(here, raw)
    asked = [one for one in read if isinstance(one, Asked)]
    taken = Outcomes(())
    if asked:
        made = [submission.new(one.plan, idempotency_key=one.idempotency_key) for one in asked]
        taken = await here.submitter.submit_all(
            key, made, existing.surfaces, roomy=True, reservation=queries.reservation(scope)
        )
    left = asking.remaining(taken)
    if taken.none is not None:
        return denials.denied(taken.none).beside(*left)  # type: ignore[arg-type]  # mypy: nothing is stored whole
    met = list(_met(read, taken.each))
    rows = await _rows(here, met)
    results = tuple(_told(index, one, rows) for index, one in enumerate(met))
    succeeded = sum(one.success for one in results)
    summary = CloroSummary(total=len(met), succeeded=succeeded, failed=len(met) - succeeded)
    return document(CloroBatchAnswer(summary=summary, results=results), headers=left)


async def _read(here: Services, raw: Sequence[msgspec.Raw]) -> list[Asked | Problem]:
    """Each task, or what is wrong with it; others have their turn in between."""
    existing, rules = await here.catalogue(), await here.rules()
    read: list[Asked | Problem] = []
    for place, item in enumerate(raw):
        body = bytes(item)
        if len(body) > bodies.LARGEST_BYTES:
            read.append(problems.too_large(bodies.LARGEST_BYTES))
        else:
            read.append(requests.task(body, rules, existing))
        if place % AT_A_TIME == AT_A_TIME - 1:
            await anyio.lowlevel.checkpoint()
    return read


def _met(
    read: Sequence[Asked | Problem], outcomes: Sequence[Outcome]
) -> Iterator[Accepted | Problem]:
    each = iter(outcomes)
    for one in read:
        if isinstance(one, Problem):
            yield one
            continue
        outcome = next(each)
        yield outcome if isinstance(outcome, Accepted) else tasks.denied(one, outcome)


async def _rows(here: Services, met: Sequence[Accepted | Problem]) -> dict[Any, ParentRow]:
    made = [one.parent for one in met if isinstance(one, Accepted)]
    if not made:
        return {}
    async with here.pool.connection() as connection:
        return await parents.many(connection, made)


def _told(
    index: int, one: Accepted | Problem, rows: dict[Any, ParentRow]
) -> CloroMade | CloroNotMade:
    if isinstance(one, Accepted) and (row := rows.get(one.parent)) is not None:
        created = cloro.created(row)
        return CloroMade(index=index, task=created.task, credits=created.credits)
    problem = one if isinstance(one, Problem) else problems.task_not_found()  # cleared meanwhile
    return CloroNotMade(index=index, error=errors.said(problem, batch=True).error)
