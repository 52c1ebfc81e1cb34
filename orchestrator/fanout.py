"""Fan-out: parents leave their queues as keys and lanes have room, and their children are born.

Lazy on purpose: a queued parent is one row, so admission costs one row whatever the matrix, and
the hot set of children is proportional to the lanes' limits and the keys' concurrency, never to
the backlog.
"""

from psycopg import AsyncConnection

from orchestrator import notify
from orchestrator.store import plans
from orchestrator.store.nodes import DEAD_AFTER_SECONDS

LOCK_ID = 7_201_002
LOOK_KEYS = 200
"""Keys looked at in one round, those not looked at for longest first."""
LOOK_STRANDS = 200
"""Strands of one key that have room looked at in one round, best first."""
LOOK_COMPARED = 30
"""Lanes without room that strands are compared with before the room in their own is looked at."""
LOOK_PARENTS = 200
"""Parents of one key looked at for the oldest that may leave."""
PASSED_OVER_SECONDS = 10.0
"""So long nothing of a strand left, before the first of it may leave past the windows; and so far
apart are those of a key that do."""

LOCK = """
SELECT set_config('synchronous_commit', 'off', true), pg_try_advisory_xact_lock(%(lock)s) AS mine
"""

# A key's window is for its async children: sync ones never were in its queue. Nor does it count
# what is ready in lanes that have a rate or start next to nothing (`still`: shut, cut down far
# below what is ready in them, or served by nobody). Their own windows bound that; counted, one such
# lane would keep the key's other work back. What stays in a still lane does not rank its key behind
# others either. A lane has room while it has fewer than twice its limit queued or retrying (with a
# rate, what that lets start in two seconds, if it is less); one that is paused or cut off has none,
# and one whose breaker asks for a probe has it for one parent.
#
# Which of a key's parents may leave is decided by its strands, so that nobody looks past a parent
# whose lanes are full or shut (`passed_by`, when they are few: to compare is faster than to look up
# the room in each lane); no more of a strand are looked at than its lanes have room for, or the
# first strand would crowd out the others. Of all keys' parents those leave first whose key has
# least in flight for its weight, counting what of its own goes before them. Beyond the window of a
# lane, never of a shut one, may go (`past`, in windows): the first parent of a key with nothing in
# flight, or wide parents would never leave; and each ten seconds one of the key's strand that none
# has left for longest, ten seconds at least, or those that go round it would keep it waiting for
# ever. More often, and one key's strands would fill the lane beyond where idle keys may go.
#
# Inside a key the best priority goes first, then the oldest; each tenth pick (counted in `fanned`)
# is the oldest whatever its priority: `turn` says where the best and the oldest come in.
# A parent that runs some cells again (`todo`) has rows of them, from the run before.
# The window holds inside the statement too (over_full): a parent passes while the cells of those
# ranked before it leave room, so the first always does, however many cells it has in one lane.
FAN_OUT = """
WITH lane_room AS MATERIALIZED (
  SELECT l.id, CASE WHEN shut THEN 0 ELSE own.window END AS extra, l.rate IS NOT NULL AS paced,
         shut OR l.not_before > now()
         OR l.allowed < l.concurrency AND own.ready > 4 * own.window
         OR l.surface <> ALL(ARRAY(
           SELECT unnest(surfaces) FROM node
           WHERE heartbeat_at > now() - %(dead)s * interval '1 second')) AS still,
         CASE WHEN shut AND (l.paused_at IS NOT NULL OR l.open_until > now()) THEN 0
              WHEN shut THEN least(1, l.allowed) - own.ready - coalesce(x.processing, 0)
              ELSE own.window - own.ready END AS room
  FROM lane l
  LEFT JOIN lane_load x ON x.lane_id = l.id
  CROSS JOIN LATERAL (
    SELECT l.paused_at IS NOT NULL OR l.open_until IS NOT NULL AS shut,
           2 * least(l.allowed, 1 + ceil(l.rate))::int AS window,
           coalesce(x.queued + x.retrying, 0) AS ready) AS own
), full_lanes AS MATERIALIZED (
  SELECT own.ids, CASE WHEN cardinality(own.ids) <= %(compared)s THEN own.ids ELSE own.closed END
                  AS passed_by, own.closed,
         extract(epoch FROM clock_timestamp())::float8 AS clock
  FROM (SELECT coalesce(array_agg(id) FILTER (WHERE room <= 0), '{}') AS ids,
               coalesce(array_agg(id) FILTER (WHERE room + 3 * extra <= 0), '{}') AS closed
        FROM lane_room) AS own
), by_id AS MATERIALIZED (
  SELECT array_agg(coalesce(room, 0) ORDER BY n) AS room,
         array_agg(coalesce(extra, 0) ORDER BY n) AS extra
  FROM generate_series(1, (SELECT max(id) FROM lane_room)) AS n
  LEFT JOIN lane_room r ON r.id = n
), stuck AS MATERIALIZED (
  SELECT i.key_id, sum(i.queued - i.sync_queued)::int AS n,
         coalesce(sum(i.queued - i.sync_queued) FILTER (WHERE r.still), 0)::int AS still
  FROM lane_room r
  CROSS JOIN LATERAL (
    SELECT key_id, queued, sync_queued FROM inflight WHERE lane_id = r.id AND ready OFFSET 0) AS i
  WHERE r.paced OR r.still
  GROUP BY 1
), looked_at AS MATERIALIZED (
  (SELECT u.*, in_flight
   FROM usage u
   CROSS JOIN LATERAL (SELECT queued + processing + retrying
                              - sync_queued - sync_processing - sync_retrying AS in_flight) AS own
   WHERE u.open
     AND (SELECT bool_or(room + 3 * extra > 0) FROM lane_room)
     AND (in_flight = 0 OR (SELECT bool_or(room > 0) FROM lane_room)
          OR u.fan_turn < (SELECT clock FROM full_lanes) - %(passed_over)s)
   ORDER BY u.fan_turn
   LIMIT %(look_keys)s)
  UNION ALL
  (SELECT u.*, in_flight
   FROM usage u
   CROSS JOIN LATERAL (SELECT queued + processing + retrying
                              - sync_queued - sync_processing - sync_retrying AS in_flight) AS own
   WHERE u.key_id = ANY(ARRAY(SELECT key_id FROM stuck)) AND NOT u.open AND u.depth > u.delayed
     AND (SELECT bool_or(room > 0) FROM lane_room)
   ORDER BY u.fan_turn
   LIMIT %(look_keys)s)
), keys AS MATERIALIZED (
  SELECT key_id, own.room, own.load = 0 AS idle, own.load, weight, fanned, fan_passed,
         greatest(0, least(own.room, 1 + %(parents)s / count(*) OVER ()))::int AS most,
         row_number() OVER (ORDER BY own.load / weight, fan_served) AS pos
  FROM looked_at
  LEFT JOIN stuck USING (key_id)
  CROSS JOIN LATERAL (
    SELECT 2 * concurrency - in_flight + coalesce(stuck.n, 0) AS room,
           in_flight - coalesce(stuck.still, 0) AS load) AS own
), strands AS MATERIALIZED (
  SELECT k.key_id, s.strand, s.past,
         CASE WHEN s.past > 0 THEN 1 ELSE least(k.most, s.room) END AS most
  FROM keys k
  CROSS JOIN full_lanes f
  CROSS JOIN by_id i
  CROSS JOIN LATERAL (
    (SELECT strand, own.room, 0 AS past
     FROM strand
     CROSS JOIN LATERAL (SELECT min(i.room[l]) AS room FROM unnest(lanes) AS l) AS own
     WHERE key_id = k.key_id AND waiting AND NOT lanes && f.passed_by AND own.room > 0
     ORDER BY priority DESC, strand
     LIMIT %(look_strands)s)
    UNION ALL
    (SELECT strand, 0, 1
     FROM strand
     CROSS JOIN LATERAL (
       SELECT min(i.room[l]) AS room, min(i.room[l] + i.extra[l]) AS beyond
       FROM unnest(lanes) AS l) AS own
     WHERE k.idle AND key_id = k.key_id AND waiting AND NOT lanes && f.closed
       AND own.room <= 0 AND own.beyond > 0
     ORDER BY priority DESC, strand
     LIMIT 1)
    UNION ALL
    (SELECT strand, 0, 3
     FROM (SELECT strand, lanes, since
           FROM strand
           WHERE k.fan_passed < f.clock - %(passed_over)s AND key_id = k.key_id AND waiting
             AND since < f.clock - %(passed_over)s AND NOT lanes && f.closed
           ORDER BY since OFFSET 0) AS oldest
     CROSS JOIN LATERAL (
       SELECT min(i.room[l]) AS room, min(i.room[l] + 3 * i.extra[l]) AS beyond
       FROM unnest(lanes) AS l) AS own
     WHERE own.room <= 0 AND own.beyond > 0
     ORDER BY since
     LIMIT 1)) AS s
), best AS MATERIALIZED (
  SELECT s.key_id, p.id, p.lanes, p.cells, s.past,
         row_number() OVER (PARTITION BY s.key_id
                            ORDER BY s.past = 3 DESC, p.priority DESC, p.id) AS nth
  FROM strands s
  CROSS JOIN LATERAL (
    SELECT id, priority, total - done AS cells,
           CASE WHEN todo IS NULL THEN lanes
                ELSE ARRAY(SELECT lanes[o] FROM unnest(todo) AS o) END AS lanes
    FROM parent
    WHERE strand = s.strand AND state = 'queued' AND key_id = s.key_id
    ORDER BY id
    LIMIT s.most) AS p
), picks AS (
  SELECT k.*, b.id, b.lanes, b.cells, b.past, b.nth + (b.nth + k.fanned - 1) / 9 AS turn
  FROM best b
  JOIN keys k ON k.key_id = b.key_id AND b.nth <= k.most
  UNION ALL
  SELECT k.*, o.id, o.lanes, o.cells, 0, o.nth * 10 - k.fanned
  FROM keys k
  CROSS JOIN full_lanes f
  CROSS JOIN LATERAL (
    SELECT id, lanes, cells, row_number() OVER (ORDER BY id) AS nth
    FROM (SELECT id, total - done AS cells,
                 CASE WHEN todo IS NULL THEN lanes
                      ELSE ARRAY(SELECT lanes[o] FROM unnest(todo) AS o) END AS lanes
          FROM parent
          WHERE key_id = k.key_id AND state = 'queued'
          ORDER BY id
          LIMIT CASE WHEN k.most + k.fanned < 10 THEN 0 ELSE %(look_parents)s END) AS first
    WHERE NOT lanes && f.ids
    ORDER BY id
    LIMIT (k.most + k.fanned) / 10) AS o
), candidates AS MATERIALIZED (
  SELECT id, lanes, pos, key_id, (load + before) / weight AS share,
         CASE WHEN idle AND nth = 1 THEN greatest(past, 1) ELSE past END AS past
  FROM (SELECT *, row_number() OVER own AS nth, coalesce(sum(cells) OVER before_it, 0) AS before
        FROM (SELECT DISTINCT ON (key_id, id) * FROM picks ORDER BY key_id, id, turn) AS once
        WINDOW own AS (PARTITION BY key_id ORDER BY turn),
               before_it AS (PARTITION BY key_id ORDER BY turn
                             ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) AS c
  WHERE before < room AND (past <> 1 OR nth = 1)
), ranked AS MATERIALIZED (
  SELECT id, lanes, past, row_number() OVER (ORDER BY past = 3 DESC, share, pos) AS pos
  FROM candidates
  ORDER BY past = 3 DESC, share, pos
  LIMIT %(parents)s
), over_full AS (
  SELECT DISTINCT c.id
  FROM (SELECT r.id, r.past, lane, rank() OVER (PARTITION BY lane ORDER BY r.pos) - 1 AS before
        FROM ranked r, unnest(r.lanes) AS lane) AS c
  JOIN lane_room ON lane_room.id = c.lane
  WHERE c.before >= lane_room.room + c.past * lane_room.extra
), picked AS MATERIALIZED (
  SELECT p.id
  FROM parent p
  WHERE p.id = ANY(ARRAY(SELECT id FROM ranked EXCEPT SELECT id FROM over_full))
    AND lower(p.state) = 'queued'
  ORDER BY p.id
  FOR NO KEY UPDATE SKIP LOCKED
), moved AS (
  UPDATE parent SET state = 'processing', started_at = coalesce(started_at, now())
  WHERE id = ANY(ARRAY(SELECT id FROM picked))
  RETURNING id, key_id, lanes, priority, todo, group_id
), turns AS MATERIALIZED (
  SELECT key_id, count(*) AS left_queue,
         bool_or(id = ANY(ARRAY(SELECT id FROM ranked WHERE past = 3))) AS passed
  FROM moved GROUP BY 1
  UNION ALL
  SELECT key_id, 0, false
  FROM (SELECT key_id FROM keys EXCEPT SELECT key_id FROM candidates) AS fruitless
), locked AS MATERIALIZED (
  SELECT u.key_id, t.left_queue, t.passed, extract(epoch FROM clock_timestamp())::float8 AS clock
  FROM usage u
  JOIN turns t USING (key_id)
  WHERE u.key_id = ANY(ARRAY(SELECT key_id FROM turns))
  ORDER BY u.key_id
  FOR NO KEY UPDATE OF u
), remembered AS (
  UPDATE usage u
  SET fan_turn = l.clock,
      fan_served = CASE WHEN l.left_queue[array_position(l.keys, u.key_id)] > 0
                        THEN l.clock ELSE u.fan_served END,
      fan_passed = CASE WHEN l.passed[array_position(l.keys, u.key_id)]
                        THEN l.clock ELSE u.fan_passed END,
      fanned = mod(u.fanned + l.left_queue[array_position(l.keys, u.key_id)], 10),
      drained = decayed(u.drained, u.drained_at, l.clock)
                + l.left_queue[array_position(l.keys, u.key_id)],
      drained_from = CASE WHEN decayed(u.drained, u.drained_at, l.clock) < 0.05
                          THEN l.clock ELSE u.drained_from END,
      drained_at = l.clock
  FROM (SELECT array_agg(key_id) AS keys, array_agg(left_queue::int) AS left_queue,
               array_agg(passed) AS passed, max(clock) AS clock
        FROM locked) AS l
  WHERE u.key_id = ANY(l.keys)
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
            {
                "look_keys": LOOK_KEYS,
                "look_strands": LOOK_STRANDS,
                "look_parents": LOOK_PARENTS,
                "compared": LOOK_COMPARED,
                "passed_over": PASSED_OVER_SECONDS,
                "dead": DEAD_AFTER_SECONDS,
                "parents": parents,
            },
        )
        if cursor.rowcount > 0:
            await connection.execute(notify.NOTIFY, {"channel": notify.QUEUED})
        return cursor.rowcount
