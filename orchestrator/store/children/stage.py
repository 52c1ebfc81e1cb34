"""Staging: children whose pause between attempts is over become ready again."""

from typing import NamedTuple

from psycopg import AsyncConnection

from orchestrator import notify
from orchestrator.store import plans

STAGE = """
WITH due AS MATERIALIZED (
  SELECT parent_id, ordinal FROM child
  WHERE state = 'retrying' AND run_at <= now()
  ORDER BY run_at
  LIMIT %(most)s
), picked AS MATERIALIZED (
  SELECT c.parent_id, c.ordinal
  FROM child c
  JOIN due USING (parent_id, ordinal)
  WHERE lower(c.state) = 'retrying'
  ORDER BY 1, 2
  FOR NO KEY UPDATE OF c SKIP LOCKED
), staged AS (
  UPDATE child c SET state = 'queued', run_at = NULL
  FROM picked
  WHERE c.parent_id = picked.parent_id AND c.ordinal = picked.ordinal
  RETURNING 1
)
SELECT count(*)::int, CASE WHEN count(*) > 0 THEN pg_notify(%(channel)s, '') END FROM staged
"""

NEXT = """
SELECT extract(epoch FROM run_at - clock_timestamp())::float8 FROM child
WHERE state = 'retrying'
ORDER BY run_at
LIMIT 1
"""


class Staged(NamedTuple):
    """How many became ready, and the seconds until the next is due (None: none is waiting)."""

    children: int
    next_seconds: float | None


async def stage(connection: AsyncConnection, *, most: int = 300) -> Staged:
    """Make due children ready, at most `most`; another stager's are skipped, not waited for."""
    async with connection.pipeline(), connection.transaction():
        await connection.execute(plans.PROBE)
        cursor = await connection.execute(STAGE, {"most": most, "channel": notify.QUEUED})
        await connection.execute(plans.IN_ORDER)
        following = await connection.execute(NEXT)
    row = await cursor.fetchone()
    pause = await following.fetchone()
    return Staged(row[0] if row else 0, pause[0] if pause else None)
