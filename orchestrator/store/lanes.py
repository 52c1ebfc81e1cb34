"""Lanes: (surface, country), with a small id that is used everywhere."""

from typing import NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import class_row


class Place(NamedTuple):
    """What names a lane."""

    surface: str
    country: str


class LaneRow(NamedTuple):
    """A lane and its load over all keys."""

    id: int
    surface: str
    country: str
    concurrency: int
    queued: int
    processing: int
    retrying: int


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
    """Bring the lanes of a surface to its configured limits; `own` has countries with their own."""
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
       coalesce(x.processing, 0) AS processing, coalesce(x.retrying, 0) AS retrying
FROM lane l
LEFT JOIN lane_load x ON x.lane_id = l.id
ORDER BY l.surface, l.country
"""


async def all_lanes(connection: AsyncConnection) -> list[LaneRow]:
    """Every lane with its load, by surface and country."""
    cursor = connection.cursor(row_factory=class_row(LaneRow))
    return await (await cursor.execute(ALL)).fetchall()
