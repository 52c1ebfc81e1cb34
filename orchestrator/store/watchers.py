"""Who watches: how many of each key at each process, and what they look for.

The rows of a key change under an advisory lock of it, so that its cap holds over all processes.
Rows of dead nodes do not count.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from admission.durability import UNFLUSHED
from orchestrator.domain.states import ParentState
from orchestrator.store.nodes import DEAD_AFTER_SECONDS

LOCK_CLASS = 4
"""The first half of the advisory locks of watchers; the second is the key."""

LOCK = """
SELECT pg_advisory_xact_lock(%(class)s, key_id)
FROM (SELECT key_id FROM unnest(%(keys)s::int[]) AS key_id ORDER BY 1) AS ordered
"""

OTHERS = """
SELECT w.key_id, sum(w.n)::int
FROM watcher w
JOIN node n ON n.id = w.node AND n.heartbeat_at > now() - %(dead)s * interval '1 second'
WHERE w.key_id = ANY(%(keys)s) AND w.node <> %(node)s
GROUP BY 1
"""


async def hold(connection: AsyncConnection, node: int, keys: Sequence[int]) -> dict[int, int]:
    """Lock the watchers of these keys until the transaction ends; how many other nodes have.

    Not flushed to disk: after a crash nobody watches.
    """
    await connection.execute(UNFLUSHED)
    await connection.execute(LOCK, {"class": LOCK_CLASS, "keys": list(keys)})
    cursor = await connection.execute(
        OTHERS, {"node": node, "keys": list(keys), "dead": DEAD_AFTER_SECONDS}
    )
    return {key: n async for key, n in cursor}


WRITE = """
WITH told AS (
  SELECT * FROM unnest(%(keys)s::int[], %(counts)s::int[]) AS told (key_id, n)
), gone AS (
  DELETE FROM watcher w USING told t
  WHERE w.key_id = t.key_id AND w.node = %(node)s AND t.n = 0
)
INSERT INTO watcher (key_id, node, n)
SELECT key_id, %(node)s, n FROM told WHERE n > 0
ON CONFLICT (key_id, node) DO UPDATE SET n = excluded.n
"""


async def write(connection: AsyncConnection, node: int, counts: Mapping[int, int]) -> None:
    """This node has so many watchers of these keys; the caller holds them."""
    await connection.execute(
        WRITE, {"node": node, "keys": list(counts), "counts": list(counts.values())}
    )


FORGET_DEAD = """
DELETE FROM watcher w
WHERE NOT EXISTS (
  SELECT FROM node n
  WHERE n.id = w.node AND n.heartbeat_at > now() - %(dead)s * interval '1 second')
"""


async def forget_dead(connection: AsyncConnection) -> int:
    """Drop the rows of dead nodes; how many there were. They counted for nothing."""
    return (await connection.execute(FORGET_DEAD, {"dead": DEAD_AFTER_SECONDS})).rowcount


class Version(NamedTuple):
    """What changes when something of a parent does that is worth telling; opaque but for `ended`.

    `children` is a digest of their statuses and attempts, as clients see them.
    """

    run: int
    state: str
    done: int
    children: int | None

    @property
    def ended(self) -> bool:
        """True when it changes by a retry only."""
        return ParentState(self.state).ended


# Only while a parent is processed do its children change; LIMIT keeps each a probe by its key.
VERSIONS = """
SELECT p.id, p.run, CASE p.state WHEN 'delayed' THEN 'queued' ELSE p.state END, p.done,
       (SELECT hashtextextended(string_agg(
                 CASE c.state WHEN 'retrying' THEN 'queued' ELSE c.state END || c.attempt, ','
                 ORDER BY c.ordinal), 0)
        FROM child c WHERE c.parent_id = p.id AND p.state = 'processing')
FROM unnest(%(parents)s::uuid[]) AS asked (id)
CROSS JOIN LATERAL (
  SELECT id, run, state, done FROM parent
  WHERE id = asked.id AND (%(key)s::int IS NULL OR key_id = %(key)s::int) LIMIT 1) AS p
"""


async def versions(
    connection: AsyncConnection, parents: Sequence[UUID], *, key_id: int | None = None
) -> dict[UUID, Version]:
    """The version of each of these parents that is there, and is of this key if one is given."""
    cursor = await connection.execute(VERSIONS, {"parents": list(parents), "key": key_id})
    return {row[0]: Version(*row[1:]) async for row in cursor}
