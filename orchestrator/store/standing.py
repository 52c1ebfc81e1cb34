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
"""Parents ahead that are counted; more are estimated."""

# Ahead are those of a higher priority, then the older ones of the same. Beyond what is counted:
# as many parents of a priority as its share of the cells that wait, and of the same priority the
# part that came before, as if they had come evenly.
AHEAD = """
SELECT higher.n + same.n AS counted, rate.parents AS drain_per_second, now() AS now,
       CASE WHEN higher.n + same.n >= %(exact)s THEN
         (SELECT coalesce(sum(b.n * CASE WHEN b.priority > %(priority)s THEN 1 ELSE part.before END)
                          / nullif(max(all_b.n), 0), 0) * (u.depth - u.delayed)
          FROM backlog b, (SELECT sum(n) AS n FROM backlog WHERE key_id = %(key)s) AS all_b,
               (SELECT coalesce(extract(epoch FROM %(created_at)s - ends.first)
                                / nullif(extract(epoch FROM ends.last - ends.first), 0), 0)
                       AS before
                FROM (SELECT (SELECT created_at FROM parent
                              WHERE key_id = %(key)s AND state = 'queued'
                                AND priority = %(priority)s ORDER BY id LIMIT 1) AS first,
                             (SELECT created_at FROM parent
                              WHERE key_id = %(key)s AND state = 'queued'
                                AND priority = %(priority)s ORDER BY id DESC LIMIT 1) AS last)
                     AS ends) AS part
          WHERE b.key_id = %(key)s AND b.priority >= %(priority)s AND b.n > 0)
       END::float8 AS estimated
FROM usage u
CROSS JOIN LATERAL (
  SELECT count(*)::int AS n
  FROM (SELECT FROM parent
        WHERE key_id = %(key)s AND state = 'queued' AND priority > %(priority)s
        LIMIT %(exact)s) AS p) AS higher
CROSS JOIN LATERAL (
  SELECT count(*)::int AS n
  FROM (SELECT FROM parent
        WHERE key_id = %(key)s AND state = 'queued' AND priority = %(priority)s
          AND id < %(parent)s
        LIMIT greatest(0, %(exact)s - higher.n)) AS p) AS same
CROSS JOIN LATERAL (
  SELECT drain_rate(u.drained, u.drained_at, u.drained_from, extract(epoch FROM now())::float8)
           AS parents) AS rate
WHERE u.key_id = %(key)s
"""


async def place(connection: AsyncConnection, parent: ParentRow) -> Queued:
    """Where a parent stands among its key's, and when it may leave at the rate they leave now.

    Nowhere once it has left; a delayed one stands nowhere yet, and may leave when its delay is
    over. Costs at most 10,000 entries of an index.
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
    return Queued(position, estimated is not None, _start(now, position, drain))


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
       l.open_until, l.concurrency AS limit, coalesce(x.processing, 0) AS processing,
       l.concurrency - (l.concurrency >= 4)::int AS async_limit,
       coalesce(x.processing - x.sync_processing, 0) AS async_processing
FROM usage u
CROSS JOIN lane l
LEFT JOIN lane_load x ON x.lane_id = l.id
WHERE u.key_id = %(key)s AND l.id = ANY(%(lanes)s)
"""


async def obstacles(connection: AsyncConnection, parent: ParentRow) -> Obstacles | None:
    """What is in the way of the children of a parent that are ready and do not run."""
    if parent.state is not ParentState.PROCESSING:
        return None
    named = {"key": parent.key_id, "lanes": [*set(parent.lanes)], "dead": DEAD_AFTER_SECONDS}
    cursor = connection.cursor(row_factory=dict_row)
    rows = await (await cursor.execute(OBSTACLES, named)).fetchall()
    if not rows:
        return None
    lanes = {row["id"]: LaneNow(**{name: row[name] for name in LaneNow._fields}) for row in rows}
    first = rows[0]
    return Obstacles(first["now"], lanes, first["key_full"], first["async_full"])
