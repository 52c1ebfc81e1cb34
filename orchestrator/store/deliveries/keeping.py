"""What becomes of the deliveries of a parent that is run again, erased or pruned."""

from collections.abc import Sequence
from uuid import UUID

from psycopg import AsyncConnection

# Only cells without a capture run again: what is copied is small. Those of earlier runs have been.
KEEP = """
WITH told AS MATERIALIZED (
  SELECT parent_id, run, ordinal FROM delivery
  WHERE parent_id = %(parent)s AND ordinal = ANY(%(ordinals)s::int2[]) AND cell IS NULL
  ORDER BY 1, 2, 3
  FOR NO KEY UPDATE
)
UPDATE delivery d
SET cell = json_build_object(
  'state', c.state, 'attempt', c.attempt, 'started_at', c.started_at, 'claimed_at', c.claimed_at,
  'finished_at', c.finished_at, 'cancel_requested_at', c.cancel_requested_at, 'error', c.error,
  'log', array_to_json(c.log), 'response_code', c.response_code)
FROM told t
JOIN child c ON c.parent_id = t.parent_id AND c.ordinal = t.ordinal
WHERE d.parent_id = t.parent_id AND d.run = t.run AND d.ordinal = t.ordinal
"""


async def keep(connection: AsyncConnection, parent: UUID, ordinals: Sequence[int]) -> None:
    """Have the events of these cells say what they do now, whatever becomes of the cells."""
    await connection.execute(KEEP, {"parent": parent, "ordinals": list(ordinals)})


FORGET = """
DELETE FROM delivery d
USING (
  SELECT parent_id, run, ordinal FROM delivery
  WHERE parent_id = ANY(%(parents)s::uuid[])
  ORDER BY 1, 2, 3
  FOR UPDATE) AS gone
WHERE d.parent_id = gone.parent_id AND d.run = gone.run AND d.ordinal = gone.ordinal
"""


async def forget(connection: AsyncConnection, parents: Sequence[UUID]) -> None:
    """Delete all deliveries of these parents, sent or not; the caller deletes the parents."""
    await connection.execute(FORGET, {"parents": list(parents)})
