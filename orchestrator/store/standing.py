"""How a parent stands: its place in the queue, and what is in the way of its ready children."""

from datetime import datetime, timedelta

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from orchestrator.domain.obstacles import LaneNow, Obstacles
from orchestrator.domain.rows import ParentRow
from orchestrator.domain.states import ParentState
from orchestrator.domain.views import Queued
from orchestrator.store.nodes import DEAD_AFTER_SECONDS

EXACT = 10_000
"""Parents of its own priority ahead that are counted; more are estimated."""

# Ahead are those of a higher priority, then the older ones of the same. The strands of a key say
# how many are of a priority; only those of its own have to be counted. Beyond what is counted: the
# part of them that came before, as if they had come evenly.
AHEAD = """
WITH strands AS MATERIALIZED (
  SELECT strand, priority, n FROM strand
  WHERE key_id = %(key)s AND waiting AND priority >= %(priority)s
), same AS MATERIALIZED (
  SELECT strand, n FROM strands WHERE priority = %(priority)s
), ahead AS MATERIALIZED (
  SELECT (SELECT coalesce(sum(n), 0) FROM strands WHERE priority > %(priority)s) AS higher,
         (SELECT count(*)
          FROM (SELECT FROM same CROSS JOIN LATERAL (
                  SELECT FROM parent
                  WHERE strand = same.strand AND state = 'queued' AND id < %(parent)s
                  LIMIT %(exact)s) AS p
                LIMIT %(exact)s) AS older) AS older
)
SELECT (higher + older)::int AS counted, rate.parents AS drain_per_second, now() AS now,
       CASE WHEN older >= %(exact)s THEN
         higher + (SELECT sum(n) FROM same)
                  * (SELECT coalesce(extract(epoch FROM %(created_at)s - min(ends.first))
                                     / nullif(extract(epoch FROM max(ends.last) - min(ends.first)),
                                              0), 0)
                     FROM same
                     CROSS JOIN LATERAL (
                       SELECT (SELECT created_at FROM parent
                               WHERE strand = same.strand AND state = 'queued'
                               ORDER BY id LIMIT 1) AS first,
                              (SELECT created_at FROM parent
                               WHERE strand = same.strand AND state = 'queued'
                               ORDER BY id DESC LIMIT 1) AS last) AS ends)
       END::float8 AS estimated
FROM usage u
CROSS JOIN ahead
CROSS JOIN LATERAL (
  SELECT drain_rate(u.drained, u.drained_at, u.drained_from, extract(epoch FROM now())::float8)
           AS parents) AS rate
WHERE u.key_id = %(key)s
"""


async def place(connection: AsyncConnection, parent: ParentRow) -> Queued:
    """Where a parent stands among its key's, and when it may leave at the rate they leave now.

    Nowhere once it has left; a delayed one stands nowhere yet, and may leave when its delay is
    over. Costs the key's strands, and at most 10,000 entries of an index.
    """
    if parent.state is ParentState.DELAYED:
        return Queued(start_at=parent.not_before)
    if parent.state is not ParentState.QUEUED:
        return Queued()
    named = {
        "key": parent.key_id,
        "parent": parent.id,
        "priority": parent.priority,
        "created_at": parent.created_at,
        "exact": EXACT,
    }
    row = await (await connection.execute(AHEAD, named)).fetchone()
    if row is None:
        return Queued()
    counted, drain, now, estimated = row
    position = counted + 1 if estimated is None else max(EXACT + 1, round(estimated))
    return Queued(position, position > EXACT, _start(now, position, drain))


def _start(now: datetime, position: int, drain_per_second: float) -> datetime | None:
    if drain_per_second <= 0:
        return None
    return now + timedelta(seconds=min(position / drain_per_second, 10 * 365 * 86_400))


OBSTACLES = """
SELECT l.id, u.processing >= u.concurrency + u.sync_limit AS key_full,
       u.processing - u.sync_processing >= u.concurrency AS async_full, now() AS now,
       EXISTS (SELECT FROM node n
               WHERE l.surface = ANY(n.surfaces)
                 AND n.heartbeat_at > now() - %(dead)s * interval '1 second') AS served,
       l.paused_at IS NOT NULL AS paused, l.open_until, l.not_before,
       to_timestamp(s.clock + (1 - tokens.n) / pace_refill(l.rate)) AS next_token_at,
       l.allowed AS limit, coalesce(x.processing, 0) AS processing,
       l.allowed - (l.allowed >= 4)::int AS async_limit,
       coalesce(x.processing - x.sync_processing, 0) AS async_processing
FROM usage u
CROSS JOIN lane l
LEFT JOIN lane_load x ON x.lane_id = l.id
LEFT JOIN lane_pace p ON p.lane_id = l.id
CROSS JOIN (SELECT extract(epoch FROM now())::float8 AS clock) AS s
CROSS JOIN LATERAL (
  SELECT pace_tokens(l.rate, p.tokens, p.filled_at, s.clock) AS n) AS tokens
WHERE u.key_id = %(key)s AND l.id = ANY(%(lanes)s)
"""


async def obstacles(connection: AsyncConnection, parent: ParentRow) -> Obstacles | None:
    """What is in the way of a parent's cells that do not run, in the queue or out of it."""
    if parent.state not in {ParentState.QUEUED, ParentState.PROCESSING}:
        return None
    named = {"key": parent.key_id, "lanes": [*set(parent.lanes)], "dead": DEAD_AFTER_SECONDS}
    cursor = connection.cursor(row_factory=dict_row)
    rows = await (await cursor.execute(OBSTACLES, named)).fetchall()
    if not rows:
        return None
    lanes = {row["id"]: LaneNow(**{name: row[name] for name in LaneNow._fields}) for row in rows}
    first = rows[0]
    return Obstacles(first["now"], lanes, first["key_full"], first["async_full"])
