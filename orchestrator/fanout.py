"""Fan-out: parents leave their queues as keys and lanes have room, and their children are born.

Lazy on purpose: a queued parent is one row, so admission costs one row whatever the matrix, and
the hot set of children is proportional to the lanes' limits and the keys' concurrency, never to
the backlog.
"""

from psycopg import AsyncConnection

from orchestrator import notify
from orchestrator.store import plans

LOCK_ID = 7_201_002
LOOK_KEYS = 200
"""Keys looked at in one round, those not looked at for longest first."""
LOOK_PARENTS = 200
"""Parents of one key looked at in one round, best first."""

LOCK = """
SELECT set_config('synchronous_commit', 'off', true), pg_try_advisory_xact_lock(%(lock)s) AS mine
"""

# A key's window is for its async children: sync ones never were in its queue. A lane has room while
# it has fewer than twice its limit queued or retrying; a key with nothing in flight may use up to
# four times it for its first parent, or wide parents would never leave.
# Inside a key the best priority goes first, then the oldest; each tenth pick (counted in `fanned`)
# is the oldest whatever its priority: `turn` says where the best and the oldest come in.
# A parent that runs some cells again (`todo`) has rows of them, from the run before.
# The window holds inside the statement too (over_full): a parent passes while the cells of those
# ranked before it leave room, so the first always does, however many cells it has in one lane.
FAN_OUT = """
WITH lane_room AS MATERIALIZED (
  SELECT l.id, 2 * l.concurrency - coalesce(x.queued + x.retrying, 0) AS room,
         2 * l.concurrency AS extra
  FROM lane l
  LEFT JOIN lane_load x ON x.lane_id = l.id
), full_lanes AS MATERIALIZED (
  SELECT coalesce(array_agg(id) FILTER (WHERE room <= 0), '{}') AS soft,
         coalesce(array_agg(id) FILTER (WHERE room + extra <= 0), '{}') AS hard
  FROM lane_room
), keys AS MATERIALIZED (
  SELECT key_id, 2 * concurrency - used AS room, used = 0 AS idle, fanned,
         least(2 * concurrency - used, 1 + %(parents)s / count(*) OVER ())::int AS most,
         row_number() OVER (ORDER BY used / weight, fan_served) AS pos
  FROM (SELECT u.*, used
        FROM usage u
        CROSS JOIN LATERAL (SELECT queued + processing + retrying
                                   - sync_queued - sync_processing - sync_retrying AS used) AS own
        WHERE u.open
          AND (SELECT bool_or(room + extra > 0) FROM lane_room)
          AND (used = 0 OR (SELECT bool_or(room > 0) FROM lane_room))
        ORDER BY u.fan_turn
        LIMIT %(look_keys)s) AS looked_at
), candidates AS MATERIALIZED (
  SELECT q.id, q.lanes, q.nth, k.pos, k.key_id, k.idle AND q.nth = 1 AS idle
  FROM keys k
  CROSS JOIN LATERAL (
    SELECT id, lanes, row_number() OVER (ORDER BY turn) AS nth,
           coalesce(sum(cells) OVER (ORDER BY turn
                                     ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
    FROM (SELECT DISTINCT ON (id) id, lanes, cells, turn
          FROM (SELECT *, nth + (nth + k.fanned - 1) / 9 AS turn
                FROM (SELECT id, lanes, cells, row_number() OVER (ORDER BY priority DESC, id) AS nth
                      FROM (SELECT id, priority, total - done AS cells,
                                   CASE WHEN todo IS NULL THEN lanes
                                        ELSE ARRAY(SELECT lanes[o] FROM unnest(todo) AS o) END
                                     AS lanes
                            FROM parent
                            WHERE key_id = k.key_id AND state = 'queued'
                            ORDER BY priority DESC, id
                            LIMIT %(look_parents)s) AS first
                      WHERE NOT lanes && (SELECT CASE WHEN k.idle THEN hard ELSE soft END
                                          FROM full_lanes)
                      ORDER BY priority DESC, id
                      LIMIT k.most) AS best
                UNION ALL
                SELECT *, nth * 10 - k.fanned
                FROM (SELECT id, lanes, cells, row_number() OVER (ORDER BY id) AS nth
                      FROM (SELECT id, total - done AS cells,
                                   CASE WHEN todo IS NULL THEN lanes
                                        ELSE ARRAY(SELECT lanes[o] FROM unnest(todo) AS o) END
                                     AS lanes
                            FROM parent
                            WHERE key_id = k.key_id AND state = 'queued'
                            ORDER BY id
                            LIMIT CASE WHEN k.most + k.fanned < 10 THEN 0
                                       ELSE %(look_parents)s END) AS first
                      WHERE NOT lanes && (SELECT CASE WHEN k.idle THEN hard ELSE soft END
                                          FROM full_lanes)
                      ORDER BY id
                      LIMIT (k.most + k.fanned) / 10) AS oldest) AS picks
          ORDER BY id, turn) AS fitting
  ) AS q
  WHERE q.before < k.room
), ranked AS MATERIALIZED (
  SELECT id, lanes, idle, row_number() OVER (ORDER BY nth, pos) AS pos
  FROM candidates
  ORDER BY nth, pos
  LIMIT %(parents)s
), over_full AS (
  SELECT DISTINCT c.id
  FROM (SELECT r.id, r.idle, lane, rank() OVER (PARTITION BY lane ORDER BY r.pos) - 1 AS before
        FROM ranked r, unnest(r.lanes) AS lane) AS c
  JOIN lane_room ON lane_room.id = c.lane
  WHERE c.before >= lane_room.room + CASE WHEN c.idle THEN lane_room.extra ELSE 0 END
), picked AS MATERIALIZED (
  SELECT p.id
  FROM parent p
  WHERE p.id = ANY(ARRAY(SELECT id FROM ranked EXCEPT SELECT id FROM over_full))
    AND lower(p.state) = 'queued'
  ORDER BY p.id
  FOR NO KEY UPDATE SKIP LOCKED
), moved AS (
  UPDATE parent p SET state = 'processing', started_at = coalesce(p.started_at, now())
  FROM picked
  WHERE p.id = picked.id AND p.id = ANY(ARRAY(SELECT id FROM picked))
  RETURNING p.id, p.key_id, p.lanes, p.priority, p.todo, p.group_id
), turns AS MATERIALIZED (
  SELECT key_id, count(*) AS left_queue FROM moved GROUP BY 1
  UNION ALL
  SELECT key_id, 0 FROM (SELECT key_id FROM keys EXCEPT SELECT key_id FROM candidates) AS fruitless
), locked AS MATERIALIZED (
  SELECT u.key_id, t.left_queue, extract(epoch FROM clock_timestamp())::float8 AS clock
  FROM usage u
  JOIN turns t USING (key_id)
  WHERE u.key_id = ANY(ARRAY(SELECT key_id FROM turns))
  ORDER BY u.key_id
  FOR NO KEY UPDATE OF u
), remembered AS (
  UPDATE usage u
  SET fan_turn = l.clock,
      fan_served = CASE WHEN l.left_queue > 0 THEN l.clock ELSE u.fan_served END,
      fanned = mod(u.fanned + l.left_queue, 10),
      drained = decayed(u.drained, u.drained_at, l.clock) + l.left_queue,
      drained_from = CASE WHEN decayed(u.drained, u.drained_at, l.clock) < 0.05
                          THEN l.clock ELSE u.drained_from END,
      drained_at = l.clock
  FROM locked l
  WHERE u.key_id = l.key_id AND u.key_id = ANY(ARRAY(SELECT key_id FROM turns))
)
INSERT INTO child (parent_id, ordinal, key_id, lane_id, priority, group_id)
SELECT m.id, cell.ordinal, m.key_id, cell.lane, m.priority, m.group_id
FROM moved m, unnest(m.lanes) WITH ORDINALITY AS cell (lane, ordinal)
WHERE m.todo IS NULL OR cell.ordinal = ANY(m.todo)
ON CONFLICT (parent_id, ordinal) DO UPDATE SET
  state = 'queued', priority = excluded.priority, attempt = 0, lost = 0, stop = NULL, charged = 0,
  cancel_requested_at = NULL, run_at = NULL, started_at = NULL, claimed_at = NULL,
  finished_at = NULL, response_code = NULL, error = NULL, log = NULL, result = NULL
"""


async def fan_out(connection: AsyncConnection, *, parents: int = 50) -> int:
    """Let up to `parents` parents leave their queues; the number of children born.

    One at a time over all processes; who finds another at it leaves it to that one and gets 0.
    Not flushed to disk: a crash that forgets it leaves the parents queued.
    """
    async with connection.transaction():
        lock = await (await connection.execute(LOCK, {"lock": LOCK_ID})).fetchone()
        if lock is None or not lock[1]:
            return 0
        await connection.execute(plans.NO_SCAN)
        cursor = await connection.execute(
            FAN_OUT,
            {"look_keys": LOOK_KEYS, "look_parents": LOOK_PARENTS, "parents": parents},
        )
        if cursor.rowcount > 0:
            await connection.execute(notify.NOTIFY, {"channel": notify.QUEUED})
        return cursor.rowcount
