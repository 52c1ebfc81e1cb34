"""What operators do to lanes over HTTP."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from litestar import Request, post
from litestar.types import Receive, Scope
from psycopg import AsyncConnection
from pydantic import BeforeValidator, Field, ValidationError

from orchestrator import operating
from orchestrator.api import bodies, problems, queries, services
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.regions import Strict
from orchestrator.api.replies import Reply, document
from orchestrator.api.schemas import whole
from orchestrator.domain import lane_views
from orchestrator.domain.rows import LaneRow
from orchestrator.operating import MOST_AT_ONCE, NoLane

AnyRequest = Request[Any, Any, Any]
Order = Callable[[AsyncConnection, str, str], Awaitable[LaneRow | NoLane]]
AtOnce = Annotated[int, Field(ge=1, le=MOST_AT_ONCE), BeforeValidator(whole)]


class LimitRequest(Strict):
    """The body of an operator's limit."""

    concurrency: Annotated[
        AtOnce | None,
        Field(description="So many children of the lane run at once; null takes the limit away."),
    ]


@post("/v1/lanes/{surface:str}/{country:str}/pause")
async def pause_lane(request: AnyRequest) -> Reply:
    """Have nothing start in a lane: 200 with the lane, repeats too."""
    return await _ordered(request.scope, operating.pause)


@post("/v1/lanes/{surface:str}/{country:str}/resume")
async def resume_lane(request: AnyRequest) -> Reply:
    """Have a lane start what it may, as one that works."""
    return await _ordered(request.scope, operating.resume)


@post("/v1/lanes/{surface:str}/{country:str}/limit")
async def limit_lane(request: AnyRequest) -> Reply:
    """Let at most so many of a lane run at once."""
    scope = request.scope
    asked = await _read(scope, request.receive)
    if isinstance(asked, Problem):
        return problems.reply(asked, scope)
    limited = asked.concurrency

    async def order(connection: AsyncConnection, surface: str, country: str) -> LaneRow | NoLane:
        return await operating.limit(connection, surface, country, limited)

    return await _ordered(scope, order)


async def _ordered(scope: Scope, order: Order) -> Reply:
    if faults := queries.unknown(scope):
        return problems.reply(problems.invalid(faults), scope)
    named = scope["path_params"]
    async with services.of(scope).pool.connection() as connection:
        found = await order(connection, named["surface"], named["country"])
    if isinstance(found, NoLane):
        return problems.reply(problems.lane_not_found(found.message), scope)
    return document(lane_views.view(found))


async def _read(scope: Scope, receive: Receive) -> LimitRequest | Problem:
    """The limit asked for, or all that is wrong with how."""
    body = await bodies.read(scope, receive)
    if isinstance(body, Problem):
        return body
    asked = parse(body)
    faults = queries.unknown(scope) + (asked if isinstance(asked, list) else [])
    return problems.invalid(faults) if faults or isinstance(asked, list) else asked


def parse(body: bytes) -> LimitRequest | list[Fault]:
    """The limit of a body, or all that is wrong with it."""
    decoded = bodies.decode(body)
    if isinstance(decoded, Fault):
        return [decoded]
    if not isinstance(decoded.value, dict):
        return [Fault(path="", message=bodies.NO_OBJECT)]
    try:
        return LimitRequest.model_validate(decoded.value)
    except ValidationError as error:
        return [*decoded.faults, *(_fault(str(one["loc"][0])) for one in error.errors())]


def _fault(field: str) -> Fault:
    if field != "concurrency":
        return Fault(path=field, message="Unknown field; allowed: concurrency.")
    message = f"1 to {MOST_AT_ONCE}, or null for no limit; to stop a lane, pause it."
    return Fault(path=field, message=message)
