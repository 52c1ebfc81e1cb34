"""Reads of lanes: their limits and load, which start nothing, which are of a surface or country."""

from psycopg import AsyncConnection
from psycopg.rows import class_row

from orchestrator.domain.dialects.rodin import Load
from orchestrator.domain.rows import LaneRow
from orchestrator.store.lanes.places import Place

ROWS = """
SELECT l.id, l.surface, l.country, l.concurrency, l.rate, l.limited, l.adaptive, l.allowed,
       coalesce(x.queued, 0) AS queued, coalesce(x.processing, 0) AS processing,
       coalesce(x.retrying, 0) AS retrying,
       CASE WHEN l.open_until IS NULL THEN 'closed'
            WHEN l.open_until > now() THEN 'open' ELSE 'half_open' END AS breaker,
       CASE WHEN l.open_until > now() THEN l.open_until END AS open_until, l.paused_at,
       CASE WHEN l.not_before > now() THEN l.not_before END AS not_before
FROM lane l
LEFT JOIN lane_load x ON x.lane_id = l.id
WHERE %(lane)s::int IS NULL OR l.id = %(lane)s::int
ORDER BY l.surface, l.country
"""


async def all_lanes(connection: AsyncConnection) -> list[LaneRow]:
    """Every lane with its load, by surface and country."""
    return await _rows(connection, None)


async def one(connection: AsyncConnection, lane: int) -> LaneRow | None:
    """The lane with this id."""
    return next(iter(await _rows(connection, lane)), None)


async def _rows(connection: AsyncConnection, lane: int | None) -> list[LaneRow]:
    cursor = connection.cursor(row_factory=class_row(LaneRow))
    return await (await cursor.execute(ROWS, {"lane": lane})).fetchall()


PAUSED_SECONDS = 3600.0
"""How long a lane is paused, as far as anybody can tell."""

CUT_OFF = """
SELECT surface, country,
       greatest(CASE WHEN paused_at IS NOT NULL THEN %(paused)s::float8 END,
                extract(epoch FROM open_until - now())::float8,
                extract(epoch FROM not_before - now())::float8)
FROM lane
WHERE paused_at IS NOT NULL OR open_until > now() OR not_before > now()
"""


async def cut_off(connection: AsyncConnection) -> dict[Place, float]:
    """Lanes in which nothing starts, and for how many seconds; of a paused one an hour is said."""
    cursor = await connection.execute(CUT_OFF, {"paused": PAUSED_SECONDS})
    return {Place(surface, country): seconds async for surface, country, seconds in cursor}


OF = """
SELECT id FROM lane
WHERE (%(surface)s::text IS NULL OR surface = %(surface)s::text)
  AND (%(country)s::text IS NULL OR country = %(country)s::text)
"""


async def of(connection: AsyncConnection, *, surface: str | None, country: str | None) -> list[int]:
    """The ids of the lanes of this surface and country, where they are given."""
    cursor = await connection.execute(OF, {"surface": surface, "country": country})
    return [lane async for (lane,) in cursor]


ASKED = """
SELECT l.surface, sum(i.asked)::int8
FROM inflight i
JOIN lane l ON l.id = i.lane_id
WHERE i.key_id = %(key)s AND i.asked > 0
GROUP BY 1
ORDER BY 1
"""


async def asked(connection: AsyncConnection, key_id: int) -> dict[str, int]:
    """Cells this key ever asked for, by surface, whatever became of them."""
    cursor = await connection.execute(ASKED, {"key": key_id})
    return {surface: n async for surface, n in cursor}


BY_SURFACE = """
SELECT l.surface, sum(i.waiting + i.queued + i.retrying)::int, sum(i.processing)::int
FROM inflight i
JOIN lane l ON l.id = i.lane_id
WHERE i.waiting + i.queued + i.retrying + i.processing > 0
  AND i.key_id = coalesce(%(key)s::int, i.key_id)
GROUP BY 1
"""


async def by_surface(connection: AsyncConnection, *, key_id: int | None = None) -> dict[str, Load]:
    """Cells that have not ended, by surface: of this key, or of all."""
    cursor = await connection.execute(BY_SURFACE, {"key": key_id})
    return {surface: Load(*n) async for surface, *n in cursor}
