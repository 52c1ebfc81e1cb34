"""What a scrape of the metrics reads of the database: its counters, never a parent or a child."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from orchestrator.store import deliveries
from orchestrator.store.nodes import DEAD_AFTER_SECONDS, Kind


class LaneGauges(NamedTuple):
    """A lane over all keys: how many may run at once, what stops it, and its cells by state.

    Those `waiting` have their parent in the admission queue.
    """

    surface: str
    country: str
    limit: int
    breaker_open: bool
    paused: bool
    waiting: int
    queued: int
    retrying: int
    processing: int


class Gauges(NamedTuple):
    """The whole server as of one moment.

    Parents in the admission queue (`delayed` are those that may not leave yet, `queued` the
    others), sync callers who wait, live nodes by kind, live workers by surface, and what of the
    outbox is `undelivered`, as `deliveries.undelivered` counts it a moment later.
    """

    lanes: Sequence[LaneGauges]
    queued: int
    delayed: int
    callers: int
    nodes: Mapping[Kind, int]
    workers: Mapping[str, int]
    undelivered: Mapping[str, int]


READ = """
WITH alive AS MATERIALIZED (
  SELECT kind, surfaces FROM node
  WHERE heartbeat_at > now() - %(dead)s * interval '1 second'
), lanes AS (
  SELECT l.surface, l.country, l.allowed, coalesce(l.open_until > now(), false) AS open,
         l.paused_at IS NOT NULL AS paused,
         coalesce(w.waiting, 0) AS waiting, coalesce(x.queued, 0) AS queued,
         coalesce(x.retrying, 0) AS retrying, coalesce(x.processing, 0) AS processing
  FROM lane l
  LEFT JOIN lane_load x ON x.lane_id = l.id
  LEFT JOIN (SELECT i.lane_id, sum(i.waiting)::int AS waiting
             FROM usage u JOIN inflight i ON i.key_id = u.key_id
             WHERE u.depth > 0 GROUP BY 1) AS w ON w.lane_id = l.id
)
SELECT (SELECT coalesce(json_agg(json_build_array(surface, country, allowed, open, paused,
                                                  waiting, queued, retrying, processing)
                                 ORDER BY surface, country), '[]') FROM lanes) AS lanes,
       coalesce(sum(depth - delayed), 0)::int AS queued,
       coalesce(sum(delayed), 0)::int AS delayed,
       (SELECT count(*)::int FROM sync_wait) AS callers,
       (SELECT json_build_object('worker', count(*) FILTER (WHERE kind = 'worker'),
                                 'api', count(*) FILTER (WHERE kind = 'api'))
        FROM alive) AS nodes,
       (SELECT coalesce(json_object_agg(name, (SELECT count(*) FROM alive
                                               WHERE name = ANY(alive.surfaces))
                                        ORDER BY name), '{}') FROM surface) AS workers
FROM usage
"""


async def read(connection: AsyncConnection) -> Gauges:
    """The gauges, all but the last in one statement.

    It costs a row of counters for each lane and each key, and a row for each lane of a key that has
    something in its queue.
    """
    cursor = connection.cursor(row_factory=dict_row)
    row = await (await cursor.execute(READ, {"dead": DEAD_AFTER_SECONDS})).fetchone()
    assert row  # noqa: S101 - sums over no rows are a row too
    left = await deliveries.undelivered(connection)
    lanes = [LaneGauges(*lane) for lane in row["lanes"]]
    return Gauges(**row | {"lanes": lanes, "undelivered": left})
