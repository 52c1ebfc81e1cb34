"""What `lanes` does in the database; imported by the command that runs."""

from collections.abc import Callable, Coroutine
from typing import Any

from psycopg import AsyncConnection

from orchestrator import operating
from orchestrator.cli.database import connected
from orchestrator.domain import lane_views
from orchestrator.domain.lane_views import LaneView
from orchestrator.domain.rows import LaneRow
from orchestrator.errors import ParallaxError
from orchestrator.operating import NoLane
from orchestrator.store import lanes

Ordered = Coroutine[Any, Any, LaneRow | NoLane]


async def all_lanes() -> list[LaneView]:
    """Every lane, by surface and country."""
    async with connected() as connection:
        return [lane_views.view(row) for row in await lanes.all_lanes(connection)]


async def pause(surface: str, country: str) -> LaneView:
    """The lane, paused."""
    return await _ordered(lambda connection: operating.pause(connection, surface, country))


async def resume(surface: str, country: str) -> LaneView:
    """The lane, resumed."""
    return await _ordered(lambda connection: operating.resume(connection, surface, country))


async def limit(surface: str, country: str, limited: int | None) -> LaneView:
    """The lane with this limit."""
    return await _ordered(lambda connection: operating.limit(connection, surface, country, limited))


async def _ordered(order: Callable[[AsyncConnection], Ordered]) -> LaneView:
    async with connected() as connection:
        found = await order(connection)
    if isinstance(found, NoLane):
        raise ParallaxError(found.message)
    return lane_views.view(found)
