"""Nodes: live processes and their heartbeats. The database's clock says who is alive."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from psycopg import AsyncConnection, Connection
from psycopg.rows import class_row

from orchestrator.store import plans

Kind = Literal["worker", "api"]
DEAD_AFTER_SECONDS = 10.0
"""A node without a heartbeat for this long is dead, and its children are anybody's."""


class NewNode(NamedTuple):
    """A process as it introduces itself; an API process serves no surfaces and has no slots."""

    host: str
    pid: int
    slots: int = 0
    surfaces: Sequence[str] = ()
    kind: Kind = "worker"

    @property
    def columns(self) -> dict[str, Any]:
        """What is stored of it."""
        return {**self._asdict(), "surfaces": list(self.surfaces)}


REGISTER = """
INSERT INTO node (kind, host, pid, slots, surfaces)
VALUES (%(kind)s, %(host)s, %(pid)s, %(slots)s, %(surfaces)s)
RETURNING id
"""


async def register(connection: AsyncConnection, node: NewNode) -> int:
    """Enter a new node; its id is never used again."""
    row = await (await connection.execute(REGISTER, node.columns)).fetchone()
    assert row  # noqa: S101 - INSERT … RETURNING of one row
    return int(row[0])


def enter(connection: Connection, node: NewNode) -> int:
    """As `register`, for a thread."""
    row = connection.execute(REGISTER, node.columns).fetchone()
    assert row  # noqa: S101 - as above
    return int(row[0])


BEAT = """
INSERT INTO node (id, kind, host, pid, slots, surfaces)
VALUES (%(id)s, %(kind)s, %(host)s, %(pid)s, %(slots)s, %(surfaces)s)
ON CONFLICT (id) DO UPDATE SET heartbeat_at = now()
"""


def beat(connection: Connection, node_id: int, node: NewNode) -> None:
    """One heartbeat; it brings back the row of a node that was given up as dead."""
    connection.execute(BEAT, {"id": node_id, **node.columns})


LEAVE = """
DELETE FROM node WHERE id = %(id)s
"""


async def leave(connection: AsyncConnection, node_id: int) -> None:
    """A node that has given everything back is gone."""
    await connection.execute(LEAVE, {"id": node_id})


SERVING = """
SELECT surface, count(*)::int
FROM node, unnest(surfaces) AS surface
WHERE heartbeat_at > now() - %(dead)s * interval '1 second'
GROUP BY 1
"""


async def serving(connection: AsyncConnection) -> dict[str, int]:
    """Live worker processes by the surface they serve."""
    cursor = await connection.execute(SERVING, {"dead": DEAD_AFTER_SECONDS})
    return {surface: n async for surface, n in cursor}


class NodeRow(NamedTuple):
    """A process that was there lately; `running` counts the children it holds."""

    id: int
    kind: Kind
    host: str
    pid: int
    slots: int
    surfaces: list[str]
    alive: bool
    running: int
    started_at: datetime
    heartbeat_at: datetime


ALL = """
SELECT id, kind, host, pid, slots, surfaces,
       heartbeat_at > now() - %(dead)s * interval '1 second' AS alive,
       (SELECT count(*)::int FROM child c
        WHERE c.state = 'processing' AND c.node = n.id) AS running,
       started_at, heartbeat_at
FROM node n
ORDER BY id
"""


async def all_nodes(connection: AsyncConnection) -> list[NodeRow]:
    """Every node, the dead that are not buried yet too, in a transaction of the caller's."""
    await connection.execute(plans.PROBE)
    cursor = connection.cursor(row_factory=class_row(NodeRow))
    return await (await cursor.execute(ALL, {"dead": DEAD_AFTER_SECONDS})).fetchall()


BURY = """
DELETE FROM node n
WHERE n.heartbeat_at < now() - %(dead)s * interval '1 second'
  AND NOT EXISTS (SELECT FROM child c WHERE c.state = 'processing' AND c.node = n.id)
  AND NOT EXISTS (SELECT FROM sync_wait w WHERE w.node = n.id)
RETURNING n.id
"""


async def bury(connection: AsyncConnection) -> list[int]:
    """Delete dead nodes that hold neither children nor callers any more; their ids."""
    cursor = await connection.execute(BURY, {"dead": DEAD_AFTER_SECONDS})
    return [node async for (node,) in cursor]
