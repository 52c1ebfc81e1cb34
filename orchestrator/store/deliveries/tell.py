"""Telling: what ended in this transaction goes into the outbox, to be delivered to a webhook."""

from collections.abc import Sequence
from uuid import UUID

from psycopg import AsyncConnection

from orchestrator import notify

# `settle` does this by itself, in its one statement. What ended at another time was told then.
TELL = """
WITH ended AS (
  SELECT id, run, key_id, endpoint, tells, state, failed, canceled, expired,
         done - failed - canceled - expired AS completed,
         coalesce(finished_at = now(), false) AS now
  FROM parent
  WHERE id = ANY(%(parents)s::uuid[]) AND tells > 0
), outbox AS (
  INSERT INTO delivery (parent_id, run, ordinal, key_id, endpoint, state, counts)
  SELECT e.id, e.run, c.ordinal, e.key_id, e.endpoint, c.state, NULL
  FROM ended e
  JOIN child c ON c.parent_id = e.id AND c.finished_at = now()
  WHERE e.tells & 1 = 1 AND %(cells)s
  UNION ALL
  SELECT id, run, 0, key_id, endpoint, state, ARRAY[completed, failed, canceled, expired]
  FROM ended WHERE now AND tells & 2 = 2
  ON CONFLICT DO NOTHING
  RETURNING 1
)
SELECT CASE WHEN EXISTS (SELECT FROM outbox) THEN pg_notify(%(told)s, '') END
"""


async def tell(connection: AsyncConnection, parents: Sequence[UUID], *, cells: bool = True) -> None:
    """Put the ends of this transaction into the outbox: those of these parents and their children.

    `cells`: those of children too; those that end with a parent that waits are not told of. The
    caller holds the parents' locks.
    """
    if parents:
        named = {"parents": list(parents), "cells": cells, "told": notify.TOLD}
        await connection.execute(TELL, named)
