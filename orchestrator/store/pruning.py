"""Pruning: what ended long ago leaves the database, a bounded batch at a time.

Nobody waits for it, and it waits for nobody: a parent in other hands is passed over. Whoever comes
for one that is being pruned finds it gone a moment later, never half of it. What a key used stays
counted, and so do the names of its groups: API processes remember their ids.
"""

from typing import NamedTuple

from psycopg import AsyncConnection

from admission import usage
from admission.durability import UNFLUSHED
from orchestrator.store import deliveries, plans

MOST_PARENTS = 200
MOST_CELLS = 2_000
"""Of one batch, unless its first parent alone has more: how long a batch takes hangs on these."""

PICK = """
WITH old AS MATERIALIZED (
  SELECT id, key_id, group_id, total, finished_at
  FROM parent
  WHERE finished_at < now() - %(retention)s::float8 * interval '1 second'
  ORDER BY finished_at
  LIMIT %(parents)s
  FOR UPDATE SKIP LOCKED
), summed AS (
  SELECT id, key_id, group_id, sum(total) OVER (ORDER BY finished_at, id) - total AS before
  FROM old
)
SELECT id, key_id, group_id FROM summed
WHERE before < %(cells)s
"""

CHILDREN = """
DELETE FROM child WHERE parent_id = ANY(%(parents)s::uuid[])
"""

PARENTS = """
DELETE FROM parent WHERE id = ANY(%(parents)s::uuid[])
"""

# A group that is used again is counted anew.
EMPTY = """
DELETE FROM group_usage u
WHERE group_id = ANY(%(groups)s::int[])
  AND NOT EXISTS (SELECT FROM group_usage o WHERE o.group_id = u.group_id AND o.n <> 0)
"""


class Pruned(NamedTuple):
    """How many parents went, and how many children with them."""

    parents: int
    children: int


async def prune(
    connection: AsyncConnection,
    *,
    retention_seconds: float,
    parents: int = MOST_PARENTS,
    cells: int = MOST_CELLS,
) -> Pruned:
    """Delete a batch of the parents that ended longest ago, all longer than the retention.

    Opens a transaction of its own. At most so many parents, and those after the first only while
    all before them have fewer cells together.
    """
    async with connection.transaction():
        await connection.execute(UNFLUSHED)
        await connection.execute(plans.IN_ORDER)
        named = {"retention": retention_seconds, "parents": parents, "cells": cells}
        picked = await (await connection.execute(PICK, named)).fetchall()
        if not picked:
            return Pruned(0, 0)
        gone = {"parents": [parent for parent, _, _ in picked]}
        children = (await connection.execute(CHILDREN, gone)).rowcount
        await deliveries.forget(connection, gone["parents"])
        grouped = {group: key for _, key, group in picked if group is not None}
        if grouped:
            await usage.lock(connection, grouped.values())
        await connection.execute(PARENTS, gone)
        if grouped:
            await connection.execute(EMPTY, {"groups": list(grouped)})
    return Pruned(len(picked), children)


ACTIONS = """
WITH old AS MATERIALIZED (
  SELECT id FROM group_action
  WHERE finished_at < now() - %(retention)s::float8 * interval '1 second'
  ORDER BY finished_at
  LIMIT %(most)s
  FOR UPDATE SKIP LOCKED
)
DELETE FROM group_action WHERE id = ANY(ARRAY(SELECT id FROM old))
"""


async def forget_actions(
    connection: AsyncConnection, *, retention_seconds: float, most: int = 1_000
) -> int:
    """Delete what was asked of groups and done that long ago, at most `most`; how many."""
    named = {"retention": retention_seconds, "most": most}
    return (await connection.execute(ACTIONS, named)).rowcount
