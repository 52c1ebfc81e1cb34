"""When a lane that is held up may start something again, and whose turn it is there."""

from collections.abc import Sequence

from psycopg import AsyncConnection

NEXT_START = """
SELECT min(wait.seconds)::float8
FROM lane l
JOIN lane_load x ON x.lane_id = l.id
LEFT JOIN lane_pace p ON p.lane_id = l.id
CROSS JOIN LATERAL (
  SELECT extract(epoch FROM clock_timestamp())::float8 AS clock) AS s
CROSS JOIN LATERAL (
  SELECT greatest(
    extract(epoch FROM l.not_before)::float8 - s.clock,
    extract(epoch FROM l.open_until)::float8 - s.clock,
    (1 - pace_tokens(l.rate, p.tokens, p.filled_at, s.clock)) / pace_refill(l.rate)
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


# A claim never waits for two of these: who sweeps passes over what a claim has locked.
FORGET_TURNS = """
WITH past AS MATERIALIZED (
  SELECT t.lane_id, t.key_id
  FROM lane_turn t
  JOIN lane l ON l.id = t.lane_id
  LEFT JOIN lane_pace p ON p.lane_id = t.lane_id
  WHERE l.rate IS NULL OR p.turn IS NULL OR t.turn <= p.turn
  LIMIT %(most)s
  FOR UPDATE OF t SKIP LOCKED
)
DELETE FROM lane_turn t USING past
WHERE t.lane_id = past.lane_id AND t.key_id = past.key_id
"""


async def forget_turns(connection: AsyncConnection, *, most: int = 1000) -> int:
    """Delete turns that lie behind their lane's own, at most `most`; how many there were."""
    return (await connection.execute(FORGET_TURNS, {"most": most})).rowcount
