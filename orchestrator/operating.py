"""What operators do to a lane, used or not: pause it, have it resume, limit it."""

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

import pycountry
from psycopg import AsyncConnection

from orchestrator.domain.rows import LaneRow
from orchestrator.store import lanes, surfaces
from orchestrator.store.lanes import Place
from orchestrator.surfaces import SurfaceDescriptor

MOST_AT_ONCE = 100_000
"""The highest limit an operator may set."""
COUNTRY = "[A-Za-z]{2}|[Gg][Ll][Oo][Bb][Aa][Ll]"
"""Of a lane: ISO 3166-1 alpha-2, or that of queues."""
_NAME, _COUNTRY = re.compile("[a-z][a-z0-9_]{0,39}"), re.compile(COUNTRY)

Order = Callable[[AsyncConnection, Place], Awaitable[LaneRow | None]]


class NoLane(NamedTuple):
    """There is no such lane; `message` says what there is."""

    message: str


async def pause(connection: AsyncConnection, surface: str, country: str) -> LaneRow | NoLane:
    """Have nothing start in the lane; what runs ends. It holds over restarts, until it resumes."""
    return await _ordered(connection, surface, country, _pause)


async def resume(connection: AsyncConnection, surface: str, country: str) -> LaneRow | NoLane:
    """Have the lane start what it may, as one that works: its breaker closes too."""
    return await _ordered(connection, surface, country, _resume)


async def limit(
    connection: AsyncConnection, surface: str, country: str, limited: int | None
) -> LaneRow | NoLane:
    """Let at most so many of the lane run at once, from 1 on; None takes the limit away."""

    async def order(connection: AsyncConnection, place: Place) -> LaneRow | None:
        return await lanes.limit(connection, place, limited)

    return await _ordered(connection, surface, country, order)


async def _pause(connection: AsyncConnection, place: Place) -> LaneRow | None:
    return await lanes.pause(connection, place, paused=True)


async def _resume(connection: AsyncConnection, place: Place) -> LaneRow | None:
    return await lanes.pause(connection, place, paused=False)


async def _ordered(
    connection: AsyncConnection, surface: str, country: str, order: Order
) -> LaneRow | NoLane:
    """The lane after the order; one that was not used yet is made for it.

    In a transaction of its own: who makes lanes may wait for a registration, and holds nothing.
    """
    place = _place(surface, country)
    async with connection.transaction():
        if place and (row := await order(connection, place)):
            return row
    known = {one.name: one for one in await surfaces.all_surfaces(connection)}
    described = known.get(surface)
    if described is None:
        return NoLane(f"There is no such surface; those there are: {_listed(known)}.")
    if place is None or not _looks_from(described, place.country):
        where = described.countries
        told = "every country of ISO 3166-1" if where is None else _listed(where)
        return NoLane(f"{surface} has no lane there; it looks from: {told}.")
    async with connection.transaction():
        await surfaces.ensure_lanes(connection, [place], known)
    async with connection.transaction():
        made = await order(connection, place)
    assert made  # noqa: S101 - it was there a moment ago, and lanes stay
    return made


def _place(surface: str, country: str) -> Place | None:
    """The lane, whatever the case of its country; None of what can be no lane's name."""
    named = _NAME.fullmatch(surface) and _COUNTRY.fullmatch(country)
    return Place(surface, country.upper()) if named else None


def _looks_from(surface: SurfaceDescriptor, country: str) -> bool:
    if surface.countries is not None:
        return country in surface.countries
    return pycountry.countries.get(alpha_2=country) is not None


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
