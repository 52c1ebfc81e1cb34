"""Strands: what is kept in the queues by lanes that are shut, and empty ones swept away."""

from collections.abc import Collection

from psycopg import AsyncConnection

from orchestrator.store.lanes.read import PAUSED_SECONDS

RESUMES = """
WITH shut AS MATERIALIZED (
  SELECT id,
         CASE WHEN paused_at IS NOT NULL THEN %(paused)s
              ELSE greatest(0, extract(epoch FROM open_until - clock_timestamp())) END AS seconds
  FROM lane WHERE paused_at IS NOT NULL OR open_until IS NOT NULL
)
SELECT u.key_id, most.seconds::float8
FROM usage u
CROSS JOIN LATERAL (
  SELECT sum(n) AS n FROM strand
  WHERE key_id = u.key_id AND waiting AND lanes && ARRAY(SELECT id FROM shut)) AS held
CROSS JOIN LATERAL (
  SELECT shut.seconds
  FROM shut
  CROSS JOIN LATERAL (
    SELECT sum(n) AS n FROM strand
    WHERE key_id = u.key_id AND waiting AND shut.id = ANY(lanes)) AS own
  WHERE own.n > 0
  ORDER BY own.n DESC, shut.seconds
  LIMIT 1) AS most
WHERE u.key_id = ANY(%(keys)s) AND EXISTS (SELECT FROM shut) AND 2 * held.n > u.depth
"""


async def resumes(connection: AsyncConnection, keys: Collection[int]) -> dict[int, float]:
    """Those of these keys most of whose queue shut lanes keep, and seconds until that may change.

    Until the next probe of the lane that keeps most of it, that is; an hour when it is paused.
    """
    named = {"keys": list(keys), "paused": PAUSED_SECONDS}
    cursor = await connection.execute(RESUMES, named)
    return {key: seconds async for key, seconds in cursor}


SWEEP = """
WITH empty AS MATERIALIZED (
  SELECT key_id, strand FROM strand
  WHERE NOT waiting AND n = 0 AND since < extract(epoch FROM now()) - %(age)s
  ORDER BY key_id, strand
  LIMIT %(most)s
  FOR UPDATE SKIP LOCKED
)
DELETE FROM strand s USING empty e
WHERE s.key_id = e.key_id AND s.strand = e.strand
"""


async def sweep(connection: AsyncConnection, *, age_seconds: float = 3600, most: int = 1000) -> int:
    """Delete strands that have been empty for so long, at most `most`; how many there were."""
    return (await connection.execute(SWEEP, {"age": age_seconds, "most": most})).rowcount
