"""Delays: parents that may leave their queue from a moment on."""

from typing import NamedTuple

from psycopg import AsyncConnection

from orchestrator import notify
from orchestrator.store import plans

RELEASE = """
WITH due AS MATERIALIZED (
  SELECT id FROM parent
  WHERE state = 'delayed' AND not_before <= now()
  ORDER BY not_before
  LIMIT %(most)s
), picked AS MATERIALIZED (
  SELECT p.id FROM parent p
  WHERE p.id = ANY(ARRAY(SELECT id FROM due)) AND lower(p.state) = 'delayed'
  ORDER BY p.id
  FOR NO KEY UPDATE SKIP LOCKED
), released AS (
  UPDATE parent p SET state = 'queued' FROM picked WHERE p.id = picked.id RETURNING 1
)
SELECT count(*)::int, CASE WHEN count(*) > 0 THEN pg_notify(%(channel)s, '') END FROM released
"""

NEXT = """
SELECT extract(epoch FROM not_before - clock_timestamp())::float8 FROM parent
WHERE state = 'delayed'
ORDER BY not_before
LIMIT 1
"""


class Released(NamedTuple):
    """How many may leave now, and the seconds until the next may (None: none has a delay)."""

    parents: int
    next_seconds: float | None


async def release(connection: AsyncConnection, *, most: int = 300) -> Released:
    """Let parents whose delay is over leave their queue, at most `most`."""
    async with connection.pipeline(), connection.transaction():
        await connection.execute(plans.IN_ORDER)
        cursor = await connection.execute(RELEASE, {"most": most, "channel": notify.ADMITTED})
        following = await connection.execute(NEXT)
    row = await cursor.fetchone()
    pause = await following.fetchone()
    return Released(row[0] if row else 0, pause[0] if pause else None)
