"""When a lane that is held up may start something again."""

from collections.abc import Sequence

from psycopg import AsyncConnection

NEXT_START = """
SELECT min(wait.seconds)::float8
FROM lane l
JOIN lane_load x ON x.lane_id = l.id
LEFT JOIN lane_pace p ON p.lane_id = l.id
CROSS JOIN LATERAL (
  SELECT extract(epoch FROM clock_timestamp())::float8 AS clock,
         extract(epoch FROM pg_postmaster_start_time())::float8 AS started) AS s
CROSS JOIN LATERAL (
  SELECT greatest(
    extract(epoch FROM l.not_before)::float8 - s.clock,
    extract(epoch FROM l.open_until)::float8 - s.clock,
    (1 - pace_tokens(l.rate, p.tokens, p.filled_at, s.clock, s.started)) / pace_refill(l.rate)
  ) AS seconds) AS wait
WHERE x.queued > 0 AND l.paused_at IS NULL AND l.surface = ANY(%(surfaces)s)
  AND x.processing < l.allowed AND wait.seconds > 0
"""


async def next_start(connection: AsyncConnection, surfaces: Sequence[str]) -> float | None:
    """Seconds until the first of these surfaces' lanes that only time holds up may start a child.

    That is a token of its rate, the moment its upstream asked for, or a probe of its breaker; None
    when no lane with a ready child waits for such. What waits for others to end is not meant.
    """
    cursor = await connection.execute(NEXT_START, {"surfaces": list(surfaces)})
    row = await cursor.fetchone()
    return row[0] if row else None
