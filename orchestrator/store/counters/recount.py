"""Every counter against a recount of the rows it stands for."""

from typing import NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import class_row


class Difference(NamedTuple):
    """A counter that does not say what a recount says. None should ever exist."""

    counter: str
    key_id: int | None
    place: int | None
    counted: int
    recounted: int


RECOUNT = """
WITH counted(counter, key_id, place, n) AS (
  SELECT 'usage.depth', key_id, NULL::int, depth FROM usage
  UNION ALL SELECT 'usage.delayed', key_id, NULL, delayed FROM usage
  UNION ALL SELECT 'usage.queued', key_id, NULL, queued FROM usage
  UNION ALL SELECT 'usage.processing', key_id, NULL, processing FROM usage
  UNION ALL SELECT 'usage.retrying', key_id, NULL, retrying FROM usage
  UNION ALL SELECT 'usage.sync_queued', key_id, NULL, sync_queued FROM usage
  UNION ALL SELECT 'usage.sync_processing', key_id, NULL, sync_processing FROM usage
  UNION ALL SELECT 'usage.sync_retrying', key_id, NULL, sync_retrying FROM usage
  UNION ALL SELECT 'usage.detached', key_id, NULL, detached FROM usage
  UNION ALL SELECT 'usage.held', key_id, NULL, held FROM usage
  UNION ALL SELECT 'usage.capacity', key_id, NULL, capacity FROM usage
  UNION ALL SELECT 'usage.sync_limit', key_id, NULL, sync_limit FROM usage
  UNION ALL SELECT 'usage.concurrency', key_id, NULL, concurrency FROM usage
  UNION ALL SELECT 'backlog.n', key_id, priority, n FROM backlog
  UNION ALL SELECT 'inflight.waiting', key_id, lane_id, waiting FROM inflight
  UNION ALL SELECT 'inflight.queued', key_id, lane_id, queued FROM inflight
  UNION ALL SELECT 'inflight.processing', key_id, lane_id, processing FROM inflight
  UNION ALL SELECT 'inflight.retrying', key_id, lane_id, retrying FROM inflight
  UNION ALL SELECT 'inflight.sync_queued', key_id, lane_id, sync_queued FROM inflight
  UNION ALL SELECT 'lane_load.queued', NULL, lane_id, queued FROM lane_load
  UNION ALL SELECT 'lane_load.processing', NULL, lane_id, processing FROM lane_load
  UNION ALL SELECT 'lane_load.retrying', NULL, lane_id, retrying FROM lane_load
  UNION ALL SELECT 'lane_load.sync_processing', NULL, lane_id, sync_processing FROM lane_load
  UNION ALL SELECT 'group.' || what, NULL, group_id, n FROM group_usage
  UNION ALL SELECT 'strand.n', key_id, priority, n FROM strand
  UNION ALL SELECT 'strand.lanes', key_id, l, n FROM strand, unnest(lanes) l
), live AS MATERIALIZED (
  SELECT key_id, lane_id, CASE WHEN priority > 100 THEN priority - 100 ELSE priority END priority,
         priority > 100 AS sync, state, count(*)::int n
  FROM child
  WHERE state IN ('queued', 'processing', 'retrying') GROUP BY 1, 2, 3, 4, 5
), waiting AS MATERIALIZED (
  SELECT key_id, priority, state, total, done,
         CASE WHEN todo IS NULL THEN lanes
              ELSE ARRAY(SELECT lanes[o] FROM unnest(todo) o) END AS cells
  FROM parent WHERE state IN ('queued', 'delayed')
), recounted(counter, key_id, place, n) AS (
  SELECT 'usage.depth', key_id, NULL::int, count(*) FROM waiting GROUP BY 2
  UNION ALL SELECT 'usage.delayed', key_id, NULL, count(*) FROM waiting WHERE state = 'delayed'
    GROUP BY 2
  UNION ALL SELECT 'usage.' || state, key_id, NULL, sum(n) FROM live GROUP BY 1, 2
  UNION ALL SELECT 'usage.sync_' || state, key_id, NULL, sum(n) FROM live WHERE sync GROUP BY 1, 2
  UNION ALL SELECT 'usage.detached', key_id, NULL, count(*) FROM parent
    WHERE mode = 'detached' AND finished_at IS NULL GROUP BY 2
  UNION ALL SELECT 'usage.held', key_id, NULL, sum(held(finished_at, estimated, charged))
    FROM parent WHERE finished_at IS NULL GROUP BY 2
  UNION ALL SELECT 'usage.capacity', id, NULL, queue_capacity FROM api_key
  UNION ALL SELECT 'usage.sync_limit', id, NULL, sync_limit FROM api_key
  UNION ALL SELECT 'usage.concurrency', id, NULL, concurrency FROM api_key
  UNION ALL SELECT 'backlog.n', key_id, priority, sum(n) FROM (
      SELECT key_id, priority, sum(total - done) n FROM waiting GROUP BY 1, 2
      UNION ALL
      SELECT key_id, priority, sum(n) FROM live WHERE state <> 'processing' GROUP BY 1, 2) b
    GROUP BY 2, 3
  UNION ALL SELECT 'strand.n', key_id, priority, count(*) FROM waiting WHERE state = 'queued'
    GROUP BY 2, 3
  UNION ALL SELECT 'strand.lanes', key_id, l, count(*)
    FROM waiting, LATERAL (SELECT DISTINCT unnest(cells) AS l) AS needed
    WHERE state = 'queued' GROUP BY 2, 3
  UNION ALL SELECT 'inflight.waiting', key_id, l, count(*)
    FROM waiting, unnest(cells) l GROUP BY 2, 3
  UNION ALL SELECT 'inflight.' || state, key_id, lane_id, sum(n) FROM live GROUP BY 1, 2, 3
  UNION ALL SELECT 'inflight.sync_queued', key_id, lane_id, sum(n)
    FROM live WHERE sync AND state = 'queued' GROUP BY 2, 3
  UNION ALL SELECT 'lane_load.' || state, NULL, lane_id, sum(n) FROM live GROUP BY 1, 3
  UNION ALL SELECT 'lane_load.sync_processing', NULL, lane_id, sum(n)
    FROM live WHERE sync AND state = 'processing' GROUP BY 3
  UNION ALL SELECT 'group.' || what, NULL, group_id, sum(n)
    FROM parent p
    CROSS JOIN LATERAL (VALUES
      ('parents.' || CASE p.state WHEN 'delayed' THEN 'queued' ELSE p.state END, 1),
      ('cells', p.total), ('cells.failed', p.failed), ('cells.canceled', p.canceled),
      ('cells.completed', p.done - p.failed - p.canceled - p.expired),
      ('cells.expired', p.expired)) AS counted (what, n)
    WHERE p.group_id IS NOT NULL GROUP BY 1, 3
  UNION ALL SELECT 'group.cells.processing', NULL, group_id, count(*)
    FROM child WHERE group_id IS NOT NULL AND state = 'processing' GROUP BY 3
)
SELECT counter, c.key_id, c.place, coalesce(c.n, 0)::int8 counted, coalesce(c.m, 0)::int8 recounted
FROM (SELECT counter, key_id, place, sum(n) n, sum(m) m
      FROM (SELECT counter, key_id, place, n, 0 m FROM counted
            UNION ALL SELECT counter, key_id, place, 0, n FROM recounted) u
      GROUP BY 1, 2, 3) c
WHERE c.n <> c.m
ORDER BY 1, 2, 3
"""


async def differences(connection: AsyncConnection) -> list[Difference]:
    """Every counter that disagrees with a recount of the rows, in one snapshot; hopefully none."""
    cursor = connection.cursor(row_factory=class_row(Difference))
    return await (await cursor.execute(RECOUNT)).fetchall()
