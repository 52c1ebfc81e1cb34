"""The fair claim: who may start next, over all keys and lanes, in one statement."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

from orchestrator.store import plans

LOCK_ID = 7_201_003

LOCK = """
SELECT set_config('synchronous_commit', 'off', true), pg_advisory_xact_lock(%(lock)s)
"""

# Slots are shared out by counters before any child is touched. Each key claims twice, for its sync
# and for its async children: `keys` are those claimants with work in a lane with room, sync ones
# first, then least in flight per weight, then least recently served; `quota` fills their shares
# like water; only then are that many children of each read from the index of ready ones (sync ones
# are those of a priority above 100), best first.
#
# Each tenth async pick of a key (counted in `claimed`) is its oldest child whatever the priority:
# the first of one of ten priorities, found by as many probes when one is due.
#
# Nothing starts in a lane that is paused, or before its upstream wants to be asked again. In a lane
# of four or more async work leaves a place free, or whoever waits would find it full. One whose
# breaker was open gets one child at a time until one comes home.
#
# A lane with a rate has as many places as its bucket has tokens, and what is claimed takes them
# (`paced`: claims alone write what is there, under their lock). Its starts are what keys share
# there, however long the calls take, by start-time fair queueing: each start puts its key's turn
# in that lane (`next`) off by one over the key's weight, and who comes anew begins where the last
# start was. Nobody is further ahead of that than one start, whatever its weight was before. Sync
# starts go first and count in nobody's turn.
#
# Hashing is off (plans.PROBE), so that a join of lanes with many rows would compare each with each:
# what is of a lane is probed lane by lane (OFFSET 0 keeps the planner to it), and rooms are looked
# up in arrays.
CLAIM = """
WITH server AS MATERIALIZED (
  SELECT extract(epoch FROM clock_timestamp())::float8 AS clock,
         extract(epoch FROM now())::float8 AS began
), begun AS (
  INSERT INTO lane_pace (lane_id, tokens, filled_at)
  SELECT l.id, 0, s.clock
  FROM server s
  CROSS JOIN lane l
  WHERE l.rate IS NOT NULL AND l.surface = ANY(%(surfaces)s)
    AND NOT EXISTS (SELECT FROM lane_pace WHERE lane_id = l.id)
), lanes AS MATERIALIZED (
  SELECT l.id, own.tokens, p.turn, room.n AS room,
         least(room.n, greatest(0, l.allowed - (l.allowed >= 4)::int
                                   - (x.processing - x.sync_processing))) AS async_room
  FROM server s
  CROSS JOIN lane l
  JOIN lane_load x ON x.lane_id = l.id
  LEFT JOIN LATERAL (
    SELECT tokens, filled_at, turn FROM lane_pace WHERE lane_id = l.id OFFSET 0) AS p ON true
  CROSS JOIN LATERAL (
    SELECT pace_tokens(l.rate, p.tokens, p.filled_at, s.clock) AS tokens,
           CASE WHEN l.paused_at IS NOT NULL OR l.not_before > now() THEN 0
                WHEN l.open_until IS NULL THEN l.allowed - x.processing
                WHEN l.open_until <= now() AND x.processing = 0 THEN least(1, l.allowed)
                ELSE 0 END AS places) AS own
  CROSS JOIN LATERAL (SELECT least(own.places, floor(own.tokens))::int AS n) AS room
  WHERE x.queued > 0 AND room.n > 0 AND l.surface = ANY(%(surfaces)s)
), rooms AS MATERIALIZED (
  SELECT array_agg(id) AS ids, array_agg(room) AS of_all, array_agg(async_room) AS of_async,
         array_agg(tokens) AS tokens,
         array_agg(CASE WHEN tokens IS NOT NULL THEN turn END) AS turns,
         array_agg(id) FILTER (WHERE async_room > 0) AS async_ids
  FROM lanes
), ready AS (
  SELECT i.key_id, sum(least(i.sync_queued, l.room)) AS sync,
         sum(least(i.queued - i.sync_queued, l.async_room)) AS async
  FROM lanes l
  CROSS JOIN LATERAL (
    SELECT key_id, queued, sync_queued FROM inflight WHERE lane_id = l.id AND ready OFFSET 0) AS i
  GROUP BY 1
), able AS MATERIALIZED (
  SELECT u.key_id, u.weight, u.turn, u.sync_turn, u.claimed, u.concurrency, u.sync_processing,
         r.async,
         u.processing - u.sync_processing AS async_processing,
         u.concurrency + u.sync_limit - u.processing AS room,
         least(r.sync, u.concurrency + u.sync_limit - u.processing, %(slots)s) AS sync
  FROM ready r
  JOIN usage u ON u.key_id = r.key_id AND u.able
), keys AS MATERIALIZED (
  SELECT *
  FROM (SELECT key_id, true AS sync, sync_processing AS running, weight, sync_turn AS turn,
               0 AS claimed, sync AS room
        FROM able
        UNION ALL
        SELECT key_id, false, async_processing, weight, turn, claimed,
               least(async, concurrency - async_processing, room - sync, %(slots)s)
        FROM able) AS own
  WHERE room > 0
  ORDER BY sync DESC, running / weight, turn
  LIMIT %(slots)s
), quota AS MATERIALIZED (
  SELECT k.key_id, k.sync, k.running, k.weight, k.turn, k.claimed, count(*)::int AS n
  FROM (SELECT k.*
        FROM keys k
        CROSS JOIN LATERAL generate_series(0, k.room - 1) AS taken
        ORDER BY k.sync DESC, (k.running + taken) / k.weight, k.turn
        LIMIT %(slots)s) AS k
  GROUP BY 1, 2, 3, 4, 5, 6
), candidates AS MATERIALIZED (
  SELECT c.parent_id, c.ordinal, c.lane_id, q.key_id, q.weight, q.sync, q.turn,
         (q.running + c.nth - 1) / q.weight AS share
  FROM quota q
  CROSS JOIN rooms
  CROSS JOIN LATERAL (
    SELECT parent_id, ordinal, lane_id, row_number() OVER (ORDER BY turn) AS nth
    FROM (SELECT DISTINCT ON (parent_id, ordinal) parent_id, ordinal, lane_id, turn
          FROM (SELECT parent_id, ordinal, lane_id, nth + (nth + q.claimed - 1) / 9 AS turn
                FROM (SELECT parent_id, ordinal, lane_id,
                             row_number() OVER (ORDER BY priority DESC, parent_id, ordinal) AS nth
                      FROM (SELECT parent_id, ordinal, lane_id, priority
                            FROM child
                            WHERE state = 'queued' AND key_id = q.key_id
                              AND priority BETWEEN CASE WHEN q.sync THEN 101 ELSE 0 END
                                           AND CASE WHEN q.sync THEN 200 ELSE 100 END
                              AND lane_id = ANY(CASE WHEN q.sync THEN rooms.ids
                                                     ELSE rooms.async_ids END)
                            ORDER BY priority DESC, parent_id, ordinal
                            LIMIT q.n) AS first) AS best
                UNION ALL
                SELECT parent_id, ordinal, lane_id,
                       row_number() OVER (ORDER BY parent_id, ordinal) * 10 - q.claimed
                FROM generate_series(1, CASE WHEN q.sync OR q.n + q.claimed < 10 THEN 0
                                             ELSE 10 END) AS level
                CROSS JOIN LATERAL (
                  SELECT parent_id, ordinal, lane_id
                  FROM child
                  WHERE state = 'queued' AND key_id = q.key_id AND priority = level
                    AND lane_id = ANY(rooms.async_ids)
                  ORDER BY parent_id, ordinal
                  LIMIT (q.n + q.claimed) / 10) AS oldest) AS picks
          ORDER BY parent_id, ordinal, turn) AS ordered
    ORDER BY turn
    LIMIT q.n
  ) AS c
), paces AS MATERIALIZED (
  SELECT c.*, array_position(ids, c.lane_id) AS lane,
         greatest(p.turn, least(coalesce(t.turn, p.turn), p.turn + 1 / weight))
         + (row_number() OVER (PARTITION BY c.lane_id, c.key_id, c.sync ORDER BY share) - 1)
           / weight AS start
  FROM candidates c
  CROSS JOIN rooms
  LEFT JOIN LATERAL (
    SELECT turns[array_position(ids, c.lane_id)] AS turn WHERE NOT c.sync) AS p ON true
  LEFT JOIN LATERAL (
    SELECT turn FROM lane_turn
    WHERE lane_id = c.lane_id AND key_id = c.key_id AND p.turn IS NOT NULL OFFSET 0) AS t ON true
), best AS MATERIALIZED (
  SELECT c.parent_id, c.ordinal, c.key_id, c.start, c.start + 1 / c.weight AS next
  FROM (SELECT *, row_number() OVER (PARTITION BY lane_id
                                     ORDER BY sync DESC, coalesce(start, share), turn) AS nth,
               count(*) FILTER (WHERE sync) OVER (PARTITION BY lane_id) AS sync_before
        FROM paces) AS c, rooms
  WHERE c.nth <= rooms.of_all[c.lane] AND c.nth - c.sync_before <= rooms.of_async[c.lane]
), picked AS MATERIALIZED (
  SELECT c.parent_id, c.ordinal, c.lane_id, b.key_id, b.start, b.next
  FROM (SELECT * FROM best ORDER BY parent_id, ordinal) AS b
  CROSS JOIN LATERAL (
    SELECT parent_id, ordinal, lane_id
    FROM child
    WHERE parent_id = b.parent_id AND ordinal = b.ordinal AND lower(state) = 'queued'
    FOR NO KEY UPDATE SKIP LOCKED) AS c
), paced AS (
  INSERT INTO lane_pace AS p (lane_id, tokens, filled_at, turn)
  SELECT t.lane_id, r.tokens[array_position(r.ids, t.lane_id)] - t.n, s.clock, t.turn
  FROM (SELECT lane_id, count(*) AS n, coalesce(max(start), 0) AS turn
        FROM picked GROUP BY 1) AS t, rooms r, server s
  WHERE r.tokens[array_position(r.ids, t.lane_id)] IS NOT NULL
  ON CONFLICT (lane_id) DO UPDATE SET
    tokens = excluded.tokens, filled_at = excluded.filled_at,
    turn = greatest(p.turn, excluded.turn)
), turned AS (
  INSERT INTO lane_turn (lane_id, key_id, turn)
  SELECT lane_id, key_id, max(next) FROM picked WHERE start IS NOT NULL GROUP BY 1, 2
  ON CONFLICT (lane_id, key_id) DO UPDATE SET turn = excluded.turn
)
UPDATE child c
SET state = 'processing', node = %(node)s, claim = %(token)s, attempt = c.attempt + 1,
    claimed_at = now(), started_at = coalesce(c.started_at, now())
FROM picked, server s
WHERE c.parent_id = picked.parent_id AND c.ordinal = picked.ordinal
RETURNING c.parent_id, c.ordinal, c.attempt, c.claim, c.lost, s.clock - s.began AS waited
"""


class Claimed(NamedTuple):
    """A child handed to a node; `claim` is the token that fences everything done to it.

    `lost`: how often it was lost with its node. `waited` is how many seconds the claim waited for
    others before it was decided.
    """

    parent_id: UUID
    ordinal: int
    attempt: int
    claim: int
    lost: int = 0
    waited: float = 0.0


async def claim(
    connection: AsyncConnection, *, node: int, token: int, slots: int, surfaces: Sequence[str]
) -> list[Claimed]:
    """Give this node up to `slots` children of the surfaces it serves, fairly over all keys.

    Sync children go first, of whatever key, and have slots of their own: a key's async ones never
    pass its concurrency, all together never that and its sync limit. Lane and key limits are exact
    because claims run one at a time, under a lock taken by a statement of its own. Not flushed to
    disk: a claim ends nothing and answers nobody, and a crash that forgets it leaves the child
    queued. `token` must be new: 62 random bits.
    """
    async with connection.pipeline(), connection.transaction():
        await connection.execute(plans.PROBE)
        await connection.execute(LOCK, {"lock": LOCK_ID})
        cursor = await connection.cursor(row_factory=class_row(Claimed)).execute(
            CLAIM, {"node": node, "token": token, "slots": slots, "surfaces": list(surfaces)}
        )
    return await cursor.fetchall()


CLAIMED = """
SELECT parent_id, ordinal, attempt, claim, lost
FROM child
WHERE state = 'processing' AND node = %(node)s AND claim = %(token)s
"""


async def claimed(connection: AsyncConnection, *, node: int, token: int) -> list[Claimed]:
    """What a claim under this token took, for a node that never heard the answer.

    It waits for a claim still under way: that one holds the lock.
    """
    async with connection.transaction():
        await connection.execute(LOCK, {"lock": LOCK_ID})
        cursor = connection.cursor(row_factory=class_row(Claimed))
        return await (await cursor.execute(CLAIMED, {"node": node, "token": token})).fetchall()
