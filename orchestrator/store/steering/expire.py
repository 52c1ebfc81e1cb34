"""Deadlines: what has not ended when its parent's deadline passes ends `expired`."""

from typing import NamedTuple

from psycopg import AsyncConnection

from orchestrator.store import plans
from orchestrator.store.steering.stop import stop

LOOK = 1_000
"""Overdue parents looked at, those overdue for longest first."""

# The first one overdue says of which key, and whether of those that wait, this is about. Who was
# retried meanwhile has a new deadline: it is asked again, in a form no index of deadlines is for.
PICK = """
WITH overdue AS MATERIALIZED (
  SELECT id, key_id, state <> 'processing' AS waiting, deadline_at
  FROM parent
  WHERE deadline_at <= now() AND stop IS NULL AND finished_at IS NULL
  ORDER BY deadline_at
  LIMIT %(look)s
), first AS MATERIALIZED (
  SELECT key_id, waiting FROM overdue ORDER BY deadline_at LIMIT 1
)
SELECT p.id, o.waiting
FROM (SELECT id, waiting FROM overdue JOIN first USING (key_id, waiting)
      ORDER BY id LIMIT %(most)s) AS o
CROSS JOIN LATERAL (
  SELECT id
  FROM parent
  WHERE id = o.id AND stop IS NULL AND finished_at IS NULL
    AND (state <> 'processing') = o.waiting AND coalesce(deadline_at <= now(), false)
  FOR NO KEY UPDATE SKIP LOCKED) AS p
"""

NEXT = """
SELECT extract(epoch FROM deadline_at - clock_timestamp())::float8 FROM parent
WHERE deadline_at IS NOT NULL AND stop IS NULL AND finished_at IS NULL
ORDER BY deadline_at
LIMIT 1
"""


class Expired(NamedTuple):
    """How many parents met their deadline, and the seconds until the next does (None: none)."""

    parents: int
    next_seconds: float | None


async def expire(connection: AsyncConnection, *, most: int = 300) -> Expired:
    """Expire a batch of overdue parents of one key; another process's are passed over.

    Opens a transaction of its own.
    """
    async with connection.transaction():
        await connection.execute(plans.IN_ORDER)
        cursor = await connection.execute(PICK, {"look": LOOK, "most": most})
        picked = await cursor.fetchall()
        if picked:
            parents, waiting = [row[0] for row in picked], picked[0][1]
            await stop(connection, parents, "expired", waiting=waiting)
        pause = await (await connection.execute(NEXT)).fetchone()
    return Expired(len(picked), pause[0] if pause else None)
