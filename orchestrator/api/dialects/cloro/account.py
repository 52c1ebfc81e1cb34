"""What cloro's clients ask of their account: countries, credits."""

from typing import Any

from litestar import Request, get

from admission import usage
from orchestrator.api import catalogue, problems, queries, services
from orchestrator.api.regions import countries as every
from orchestrator.api.replies import Reply, document
from orchestrator.domain.dialects.task_types import TASK_TYPES
from orchestrator.domain.envelope import Wire

AnyRequest = Request[Any, Any, Any]


class CloroCreditsLeft(Wire):
    """Credits that are free; null when they are unlimited. There are no cycles."""

    remaining: int | None
    per_cycle: None = None
    cycle_resets_at: None = None


@get("/v1/countries")
async def countries(request: AnyRequest) -> Reply:
    """`GET /v1/countries`: where tasks, or those of one kind (`model`), are captured from."""
    scope = request.scope
    existing = await services.of(scope).catalogue()
    model = queries.of(scope).get("model")
    kinds = TASK_TYPES if model is None else [kind for kind in TASK_TYPES if kind == model.upper()]
    if not kinds:
        problem = problems.fault("model", f"One of {', '.join(TASK_TYPES)}.")
        return problems.reply(problem, scope)
    found: set[str] = set()
    for kind in kinds:
        if (surface := catalogue.of_task(kind, existing)) is not None:
            found |= every() if surface.countries is None else set(surface.countries)
    return document(sorted(found))


@get("/v1/credits")
async def credits_left(request: AnyRequest) -> Reply:
    """`GET /v1/credits`: what may still be spent."""
    scope = request.scope
    async with services.of(scope).pool.connection() as connection:
        budget = await usage.budget_of(connection, scope["auth"].id)
    return document(CloroCreditsLeft(remaining=budget.credits))
