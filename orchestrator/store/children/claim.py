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

# Slots are shared out by counters before any child is touched: `keys` are those with work in a
# lane with room, least in flight per weight first, then least recently served; `quota` fills
# their shares like water; only then are that many children of each key read from its index, best
# first.
CLAIM = """
WITH lanes AS MATERIALIZED (
  SELECT l.id, l.concurrency - x.processing AS room
  FROM lane l
  JOIN lane_load x ON x.lane_id = l.id
  WHERE x.queued > 0 AND x.processing < l.concurrency AND l.surface = ANY(%(surfaces)s)
), ready AS (
  SELECT i.key_id, sum(least(i.queued, l.room)) AS n
  FROM lanes l
  JOIN inflight i ON i.lane_id = l.id AND i.ready
  GROUP BY 1
), keys AS MATERIALIZED (
  SELECT u.key_id, u.processing, u.weight, u.turn,
         least(r.n, u.concurrency - u.processing, %(slots)s) AS room
  FROM ready r
  JOIN usage u ON u.key_id = r.key_id AND u.able
  ORDER BY u.processing / u.weight, u.turn
  LIMIT %(slots)s
), quota AS MATERIALIZED (
  SELECT k.key_id, k.processing, k.weight, k.turn, count(*) AS n
  FROM (SELECT k.key_id, k.processing, k.weight, k.turn
        FROM keys k
        CROSS JOIN LATERAL generate_series(0, k.room - 1) AS taken
        ORDER BY (k.processing + taken) / k.weight, k.turn
        LIMIT %(slots)s) AS k
  GROUP BY 1, 2, 3, 4
), candidates AS MATERIALIZED (
  SELECT c.parent_id, c.ordinal, c.lane_id, q.turn,
         (q.processing + c.nth - 1) / q.weight AS share
  FROM quota q
  CROSS JOIN LATERAL (
    SELECT parent_id, ordinal, lane_id,
           row_number() OVER (ORDER BY priority DESC, parent_id, ordinal) AS nth
    FROM (SELECT parent_id, ordinal, lane_id, priority
          FROM child
          WHERE state = 'queued' AND key_id = q.key_id
            AND lane_id = ANY(ARRAY(SELECT id FROM lanes))
          ORDER BY priority DESC, parent_id, ordinal
          LIMIT q.n) AS first
  ) AS c
), best AS MATERIALIZED (
  SELECT c.parent_id, c.ordinal
  FROM (SELECT parent_id, ordinal, lane_id,
               row_number() OVER (PARTITION BY lane_id ORDER BY share, turn) AS nth
        FROM candidates) AS c
  JOIN lane l ON l.id = c.lane_id
  JOIN lane_load x ON x.lane_id = c.lane_id
  WHERE c.nth <= l.concurrency - x.processing
), picked AS MATERIALIZED (
  SELECT c.parent_id, c.ordinal
  FROM child c
  JOIN best USING (parent_id, ordinal)
  WHERE lower(c.state) = 'queued'
  ORDER BY 1, 2
  FOR NO KEY UPDATE OF c SKIP LOCKED
)
UPDATE child c
SET state = 'processing', node = %(node)s, claim = %(token)s, attempt = c.attempt + 1,
    claimed_at = now(), started_at = coalesce(c.started_at, now())
FROM picked
WHERE c.parent_id = picked.parent_id AND c.ordinal = picked.ordinal
RETURNING c.parent_id, c.ordinal, c.attempt, c.claim
"""


class Claimed(NamedTuple):
    """A child handed to a node; `claim` is the token that fences everything done to it."""

    parent_id: UUID
    ordinal: int
    attempt: int
    claim: int


async def claim(
    connection: AsyncConnection, *, node: int, token: int, slots: int, surfaces: Sequence[str]
) -> list[Claimed]:
    """Give this node up to `slots` children of the surfaces it serves, fairly over all keys.

    Lane and key limits are exact because claims run one at a time, under a lock taken by a
    statement of its own. Not flushed to disk: a claim ends nothing and answers nobody, and a
    crash that forgets it leaves the child queued. `token` must be new: 62 random bits.
    """
    async with connection.pipeline(), connection.transaction():
        await connection.execute(plans.PROBE)
        await connection.execute(LOCK, {"lock": LOCK_ID})
        cursor = await connection.cursor(row_factory=class_row(Claimed)).execute(
            CLAIM, {"node": node, "token": token, "slots": slots, "surfaces": list(surfaces)}
        )
    return await cursor.fetchall()


CLAIMED = """
SELECT parent_id, ordinal, attempt, claim
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
