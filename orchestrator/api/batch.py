"""Many submissions in one request and one transaction: each by itself, or all of them or none."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from litestar import Request, post
from litestar.types import Scope

from admission.budget import Short
from admission.refusals import Refusal
from orchestrator import submission
from orchestrator.api import asking, batching, denials, problems, services
from orchestrator.api.batching import Batch
from orchestrator.api.codes import Code
from orchestrator.api.problems import Error, Problem
from orchestrator.api.replies import Header, Reply, document
from orchestrator.api.requests import Asked
from orchestrator.domain import ids
from orchestrator.domain.envelope import Wire
from orchestrator.domain.many import BatchJob
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region, tokens
from orchestrator.domain.states import ParentState
from orchestrator.submission import Accepted, Outcome, Outcomes, Replayed, Withheld

MOST_CHILD_IDS = 50_000
FULL = Code.QUEUE_CAPACITY_EXCEEDED


class BatchItem(Wire):
    """What became of the item at this index."""

    index: int
    status: Literal["accepted", "rejected"]
    job: BatchJob | None
    error: Error | None


class BatchAnswer(Wire):
    """What became of each item, in order."""

    items: tuple[BatchItem, ...]


@post("/v1/search/batch")
async def search_batch(request: Request[Any, Any, Any]) -> Reply:
    """`POST /v1/search/batch`: 1 to 500 submissions for the price of one request."""
    scope = request.scope
    batch = await batching.read(scope, request.receive)
    answer = batch if isinstance(batch, Problem) else await _take(scope, batch)
    return problems.reply(answer, scope) if isinstance(answer, Problem) else answer


async def _take(scope: Scope, batch: Batch) -> Reply | Problem:
    """Take in what can be taken in, and say what became of each."""
    asked = [item for item in batch.items if isinstance(item, Asked)]
    taken = await _submit(scope, batch, asked) if asked else Outcomes(())
    left = asking.remaining(taken)
    if taken.none is not None:
        return _none(taken.none).beside(*left)
    met = list(_met(batch.items, taken.each))
    answer = BatchAnswer(items=tuple(_told(met, scope)))
    return document(answer, headers=(*_headers(met), *left))


async def _submit(scope: Scope, batch: Batch, asked: Sequence[Asked]) -> Outcomes:
    return await services.of(scope).submitter.submit_all(
        batch.key,
        [submission.new(one.plan, idempotency_key=one.idempotency_key) for one in asked],
        batch.existing.surfaces,
        whole=batch.whole,
        reservation=batch.reservation,
    )


def _none(why: Withheld | Short | Refusal) -> Problem:
    """Why nothing was stored of what was to be stored whole."""
    if isinstance(why, Withheld):
        problem = denials.denied(why.why)
        return problem._replace(message=f"items[{why.place}]: {problem.message}")
    if isinstance(why, Refusal) and why.requested > why.limit:
        message = f"{why.requested} places; the admission queue of this API key has {why.limit}."
        return problems.fault("items", message)
    return denials.denied(why)


class _Taken(NamedTuple):
    plan: Plan
    outcome: Accepted | Replayed


def _met(
    items: Iterable[Asked | Problem], outcomes: Iterable[Outcome]
) -> Iterator[_Taken | Problem]:
    """What became of each item, those that were not submitted too."""
    each = iter(outcomes)
    for item in items:
        if isinstance(item, Problem):
            yield item
            continue
        match next(each):
            case Accepted() | Replayed() as outcome:
                yield _Taken(item.plan, outcome)
            case outcome:
                yield denials.denied(outcome)


def _told(met: Sequence[_Taken | Problem], scope: Scope) -> Iterator[BatchItem]:
    cells = sum(one.plan.total for one in met if isinstance(one, _Taken))
    named = cells <= MOST_CHILD_IDS
    for index, one in enumerate(met):
        if isinstance(one, Problem):
            error = problems.error(one, scope)
            yield BatchItem(index=index, status="rejected", job=None, error=error)
        else:
            job = _job(one, named=named)
            yield BatchItem(index=index, status="accepted", job=job, error=None)


def _job(taken: _Taken, *, named: bool) -> BatchJob:
    plan, outcome = taken
    state = outcome.state if isinstance(outcome, Replayed) else ParentState.QUEUED
    name = ids.text(outcome.parent)
    ends = _ends(plan.surfaces, plan.regions) if named else ()
    children = tuple([name + end for end in ends]) if named else None
    return BatchJob(id=name, status=state.wire, children=children)


@lru_cache(maxsize=64)  # the items of a batch, and one batch after the other, are much alike
def _ends(surfaces: tuple[str, ...], regions: tuple[Region, ...]) -> tuple[str, ...]:
    """How the ids of the children of such a parent end."""
    named = tokens(regions)
    return tuple(ids.child_text("", surface, token) for surface in surfaces for token in named)


def _headers(met: Sequence[_Taken | Problem]) -> tuple[Header, ...]:
    """When to come back and what is taken, where room lacked; whether all were there before."""
    full = [one for one in met if isinstance(one, Problem) and one.code is FULL]
    if full:
        return full[-1].headers  # the last is promised what comes behind the others
    replayed = [isinstance(one, _Taken) and isinstance(one.outcome, Replayed) for one in met]
    return (asking.REPLAYED,) if all(replayed) else ()
