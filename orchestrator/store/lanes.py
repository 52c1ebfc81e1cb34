"""Lanes: (surface, country), with a small id that is used everywhere."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import class_row


class Place(NamedTuple):
    """What names a lane."""

    surface: str
    country: str


class LaneRow(NamedTuple):
    """A lane and its load over all keys; `open_until` is when a probe may go through."""

    id: int
    surface: str
    country: str
    concurrency: int
    queued: int
    processing: int
    retrying: int
    breaker: Literal["closed", "open", "half_open"] = "closed"
    open_until: datetime | None = None


ENSURE = """
INSERT INTO lane (surface, country, concurrency)
SELECT surface, country, concurrency
FROM unnest(%(surfaces)s::text[], %(countries)s::text[], %(concurrencies)s::int[])
     AS new (surface, country, concurrency)
ORDER BY 1, 2
ON CONFLICT (surface, country) DO NOTHING
"""

FIND = """
SELECT id, lane.surface, lane.country
FROM lane
JOIN unnest(%(surfaces)s::text[], %(countries)s::text[]) AS place (surface, country)
  ON (lane.surface, lane.country) = (place.surface, place.country)
"""


async def ensure(connection: AsyncConnection, places: dict[Place, int]) -> dict[Place, int]:
    """The id of each lane; those new are made with the concurrency given beside them."""
    columns = {
        "surfaces": [place.surface for place in places],
        "countries": [place.country for place in places],
    }
    await connection.execute(ENSURE, {**columns, "concurrencies": list(places.values())})
    cursor = await connection.execute(FIND, columns)
    return {Place(surface, country): lane async for lane, surface, country in cursor}


HOLD = """
SELECT id FROM lane WHERE surface = ANY(%(surfaces)s) ORDER BY id FOR NO KEY UPDATE
"""


async def hold(connection: AsyncConnection, surfaces: Iterable[str]) -> None:
    """Lock the lanes of these surfaces, by id as everybody, until the transaction ends."""
    await connection.execute(HOLD, {"surfaces": list(surfaces)})


SET_CONCURRENCY = """
UPDATE lane SET concurrency = new.concurrency
FROM (SELECT lane.id, coalesce(own.concurrency, %(concurrency)s) AS concurrency
      FROM lane
      LEFT JOIN unnest(%(countries)s::text[], %(concurrencies)s::int[])
           AS own (country, concurrency) ON own.country = lane.country
      WHERE lane.surface = %(surface)s
      ORDER BY lane.id
      FOR NO KEY UPDATE OF lane) AS new
WHERE lane.id = new.id AND lane.concurrency <> new.concurrency
"""


async def set_concurrency(
    connection: AsyncConnection, surface: str, concurrency: int, own: dict[str, int]
) -> None:
    """Bring the lanes of a surface to its configured limits; `own` has countries with their own.

    Who does so for several surfaces in one transaction holds the lanes of all of them before.
    """
    await connection.execute(
        SET_CONCURRENCY,
        {
            "surface": surface,
            "concurrency": concurrency,
            "countries": list(own),
            "concurrencies": list(own.values()),
        },
    )


ALL = """
SELECT l.id, l.surface, l.country, l.concurrency, coalesce(x.queued, 0) AS queued,
       coalesce(x.processing, 0) AS processing, coalesce(x.retrying, 0) AS retrying,
       CASE WHEN l.open_until IS NULL THEN 'closed'
            WHEN l.open_until > now() THEN 'open' ELSE 'half_open' END AS breaker,
       CASE WHEN l.open_until > now() THEN l.open_until END AS open_until
FROM lane l
LEFT JOIN lane_load x ON x.lane_id = l.id
ORDER BY l.surface, l.country
"""


async def all_lanes(connection: AsyncConnection) -> list[LaneRow]:
    """Every lane with its load, by surface and country."""
    cursor = connection.cursor(row_factory=class_row(LaneRow))
    return await (await cursor.execute(ALL)).fetchall()


CUT_OFF = """
SELECT surface, country, extract(epoch FROM open_until - now())::float8
FROM lane
WHERE open_until > now()
"""


async def cut_off(connection: AsyncConnection) -> dict[Place, float]:
    """Lanes whose breaker is open, and the seconds until it lets a probe through."""
    cursor = await connection.execute(CUT_OFF)
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
