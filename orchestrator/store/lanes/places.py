"""Which lanes there are and what is configured for them: made once, found again, configured."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from psycopg import AsyncConnection

from orchestrator.surfaces import RegionLimits, per_second


class Place(NamedTuple):
    """What names a lane."""

    surface: str
    country: str


# Nothing ever started in a new lane: its bucket is as full as it gets (`domain.lanes.capacity`).
MAKE = """
WITH made AS (
  INSERT INTO lane (surface, country, concurrency, rate, learns)
  SELECT surface, country, concurrency, rate, learns
  FROM unnest(%(surfaces)s::text[], %(countries)s::text[], %(concurrencies)s::int[],
              %(rates)s::float8[], %(learn)s::bool[])
       AS new (surface, country, concurrency, rate, learns)
  ORDER BY 1, 2
  ON CONFLICT (surface, country) DO NOTHING
  RETURNING id, rate
)
INSERT INTO lane_pace (lane_id, tokens, filled_at)
SELECT id, pace_tokens(rate, 'infinity', 0, 0), extract(epoch FROM clock_timestamp())
FROM made
WHERE rate IS NOT NULL
"""

FIND = """
SELECT id, lane.surface, lane.country
FROM lane
JOIN unnest(%(surfaces)s::text[], %(countries)s::text[]) AS place (surface, country)
  ON (lane.surface, lane.country) = (place.surface, place.country)
"""


async def find(connection: AsyncConnection, places: Collection[Place]) -> dict[Place, int]:
    """The id of each of these lanes that is there."""
    cursor = await connection.execute(FIND, _names(places))
    return {Place(surface, country): lane async for lane, surface, country in cursor}


async def ensure(
    connection: AsyncConnection, places: Mapping[Place, RegionLimits]
) -> dict[Place, int]:
    """The id of each lane; those new are made with the limits given beside them.

    A conflict would use up an id, and arrays are indexed by ids: what is there is not inserted.
    """
    found = await find(connection, places.keys())
    new = {place: limits for place, limits in places.items() if place not in found}
    if new:
        learn = [limits.learns for limits in new.values()]
        named = {**_names(new.keys()), **_columns(new.values()), "learn": learn}
        await connection.execute(MAKE, named)
        found |= await find(connection, new.keys())
    return found


def _names(places: Collection[Place]) -> dict[str, list[str]]:
    return {
        "surfaces": [place.surface for place in places],
        "countries": [place.country for place in places],
    }


def _columns(limits: Collection[RegionLimits]) -> dict[str, list[Any]]:
    return {
        "concurrencies": [each.concurrency for each in limits],
        "rates": [per_second(each.rate) for each in limits],
    }


HOLD = """
SELECT id FROM lane WHERE surface = ANY(%(surfaces)s) ORDER BY id FOR NO KEY UPDATE
"""


async def hold(connection: AsyncConnection, surfaces: Iterable[str]) -> None:
    """Lock the lanes of these surfaces, by id as everybody, until the transaction ends."""
    await connection.execute(HOLD, {"surfaces": list(surfaces)})


# What an upstream bears that is no less than is configured is no limit any more; what a lane has
# learned that learns no more is forgotten.
CONFIGURE = """
UPDATE lane SET concurrency = new.concurrency, rate = new.rate, learns = %(learns)s,
                adaptive = CASE WHEN %(learns)s AND adaptive < new.concurrency THEN adaptive END,
                failures = CASE WHEN %(learns)s THEN failures ELSE 0 END,
                open_until = CASE WHEN %(learns)s THEN open_until END,
                not_before = CASE WHEN %(learns)s THEN not_before END
FROM (SELECT lane.id, coalesce(own.concurrency, %(concurrency)s) AS concurrency,
             CASE WHEN own.country IS NULL THEN %(rate)s::float8 ELSE own.rate END AS rate
      FROM lane
      LEFT JOIN unnest(%(countries)s::text[], %(concurrencies)s::int[], %(rates)s::float8[])
           AS own (country, concurrency, rate) ON own.country = lane.country
      WHERE lane.surface = %(surface)s
      ORDER BY lane.id
      FOR NO KEY UPDATE OF lane) AS new
WHERE lane.id = new.id
  AND (lane.concurrency, lane.rate, lane.learns)
      IS DISTINCT FROM (new.concurrency, new.rate, %(learns)s)
"""


async def configure(
    connection: AsyncConnection,
    surface: str,
    limits: RegionLimits,
    own: Mapping[str, RegionLimits],
) -> None:
    """Bring the lanes of a surface to its configured limits; `own` has countries with their own.

    Who does so for several surfaces in one transaction holds the lanes of all of them before.
    """
    await connection.execute(
        CONFIGURE,
        {
            "surface": surface,
            "concurrency": limits.concurrency,
            "rate": per_second(limits.rate),
            "learns": limits.learns,
            "countries": list(own),
            **_columns(own.values()),
        },
    )
