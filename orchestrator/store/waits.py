"""Callers who wait for the end of a parent: a row each, holding a place of the key's sync limit.

Admission adds a row under the key's usage lock; whoever leaves has it deleted here. A parent whose
last caller has left is *detached*: its children keep their priority and their slots.
"""

from collections.abc import Sequence
from uuid import UUID

from psycopg import AsyncConnection

from admission.durability import UNFLUSHED
from orchestrator import notify
from orchestrator.store import plans
from orchestrator.store.nodes import DEAD_AFTER_SECONDS

YOUNG_SECONDS = 10.0
"""A row this young may be of a caller who came after somebody listed those it knows."""

# A statement of its own: of two last callers who leave at once the second waits here, and its next
# statement sees that the first is gone.
HOLD = """
SELECT id FROM parent
WHERE id = ANY(ARRAY(SELECT parent_id FROM sync_wait WHERE id = ANY(%(ids)s)))
  AND finished_at IS NULL
ORDER BY id
FOR NO KEY UPDATE
"""

LEAVE = """
WITH gone AS MATERIALIZED (
  SELECT id FROM sync_wait WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE
), left_behind AS (
  DELETE FROM sync_wait w USING gone WHERE w.id = gone.id RETURNING w.parent_id
)
UPDATE parent p
SET mode = 'detached'
WHERE p.id = ANY(ARRAY(SELECT parent_id FROM left_behind))
  AND p.mode = 'sync' AND p.finished_at IS NULL
  AND NOT EXISTS (
    SELECT FROM sync_wait w WHERE w.parent_id = p.id AND w.id <> ALL(%(ids)s))
"""


async def leave(connection: AsyncConnection, ids: Sequence[int]) -> None:
    """The callers with these wait ids are gone; their places are free.

    A parent nobody waits for any more is detached. Not flushed to disk: what a crash forgets are
    rows that `sweep` finds.
    """
    if not ids:
        return
    async with connection.pipeline(), connection.transaction():
        await connection.execute(UNFLUSHED)
        await connection.execute(plans.PROBE)
        await connection.execute(HOLD, {"ids": list(ids)})
        await connection.execute(LEAVE, {"ids": list(ids)})


# One probe of the primary key for each: a scalar subquery is never made a join.
ENDED = """
SELECT id
FROM unnest(%(parents)s::uuid[]) AS asked (id)
WHERE (SELECT finished_at IS NULL FROM parent WHERE parent.id = asked.id) IS NOT TRUE
"""


async def ended(connection: AsyncConnection, parents: Sequence[UUID]) -> list[UUID]:
    """Those of the parents that have ended, or are not there any more."""
    cursor = await connection.execute(ENDED, {"parents": list(parents)})
    return [parent async for (parent,) in cursor]


# `finished_at` is when the transaction that ended a parent began, so this finds what ended in the
# transaction it runs in. Whoever begins to wait locks the key's usage first, which that holds: it
# is either seen here or finds the parent ended.
TELL = """
SELECT pg_notify(%(channel)s, CASE WHEN length(names) <= %(most)s THEN names ELSE '' END)
FROM (SELECT string_agg(replace(parent_id::text, '-', ''), ',') AS names
      FROM (SELECT DISTINCT parent_id FROM sync_wait
            WHERE parent_id = ANY(%(parents)b::uuid[])) AS waited_for
      WHERE (SELECT finished_at = now() FROM parent WHERE id = parent_id)) AS told
WHERE names IS NOT NULL
"""


async def tell(connection: AsyncConnection, parents: Sequence[UUID]) -> None:
    """Tell those who wait which of these parents ended in the present transaction.

    A statement of its own after the one that ended them.
    """
    await connection.execute(
        TELL,
        {"channel": notify.ENDED, "most": notify.LARGEST_PAYLOAD, "parents": list(parents)},
    )


UNKNOWN = """
SELECT id FROM sync_wait
WHERE node = %(node)s AND id <> ALL(%(live)s::int8[])
  AND since < now() - %(young)s * interval '1 second'
"""


async def sweep(connection: AsyncConnection, node: int, live: Sequence[int]) -> None:
    """Drop this node's rows that it does not know: it left, and the database forgot in a crash.

    Rows younger than ten seconds stay: their callers may have come after `live` was made.
    """
    cursor = await connection.execute(
        UNKNOWN, {"node": node, "live": list(live), "young": YOUNG_SECONDS}
    )
    await leave(connection, [wait async for (wait,) in cursor])


ORPHANED = """
SELECT w.id FROM sync_wait w
WHERE NOT EXISTS (
  SELECT FROM node n
  WHERE n.id = w.node AND n.heartbeat_at > now() - %(dead)s * interval '1 second')
ORDER BY w.id
LIMIT %(most)s
"""


async def forget_dead(connection: AsyncConnection, *, most: int = 300) -> int:
    """Drop the rows of API nodes that are dead, at most so many; how many there were."""
    cursor = await connection.execute(ORPHANED, {"dead": DEAD_AFTER_SECONDS, "most": most})
    orphaned = [wait async for (wait,) in cursor]
    await leave(connection, orphaned)
    return len(orphaned)
