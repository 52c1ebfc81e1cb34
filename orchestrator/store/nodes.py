"""Nodes: live processes and their heartbeats. The database's clock says who is alive."""

import os
import secrets
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Literal, NamedTuple

from psycopg import AsyncConnection, Connection
from psycopg.rows import class_row

from orchestrator.store import plans

Kind = Literal["worker", "api"]
LONG_SECONDS = 4.0
"""No transaction of a process that is well takes so long."""
LATE_SECONDS = 4.0
"""A heartbeat this long after the last is late: the database was away, or its clock was set.

Others were perhaps kept from beating for as long, and need a few seconds more to come back.
"""
DEAD_AFTER_SECONDS = 10.0
"""A node without a heartbeat for this long is dead, and its children are anybody's."""


class NewNode(NamedTuple):
    """A process as it introduces itself; an API process serves no surfaces and has no slots.

    `session` is what its sessions are called.
    """

    host: str
    pid: int
    slots: int = 0
    surfaces: Sequence[str] = ()
    kind: Kind = "worker"
    session: str = ""

    @property
    def columns(self) -> dict[str, Any]:
        """What is stored of it."""
        return {**self._asdict(), "surfaces": list(self.surfaces)}


@cache
def session_name() -> str:
    """What the sessions of this process are called (`application_name`), and of no other ever."""
    return f"parallax {os.getpid()} {secrets.token_hex(8)}"


REGISTER = """
INSERT INTO node (kind, host, pid, slots, surfaces, session)
VALUES (%(kind)s, %(host)s, %(pid)s, %(slots)s, %(surfaces)s, %(session)s)
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
INSERT INTO node (id, kind, host, pid, slots, surfaces, session)
VALUES (%(id)s, %(kind)s, %(host)s, %(pid)s, %(slots)s, %(surfaces)s, %(session)s)
ON CONFLICT (id) DO UPDATE SET
  heartbeat_at = now(),
  good_since = CASE
    WHEN now() BETWEEN node.heartbeat_at AND node.heartbeat_at + %(late)s * interval '1 second'
    THEN node.good_since ELSE now() END
"""


def beat(connection: Connection, node_id: int, node: NewNode) -> None:
    """One heartbeat; it brings back the row of a node that was given up as dead."""
    connection.execute(BEAT, {"id": node_id, "late": LATE_SECONDS, **node.columns})


LEAVE = """
DELETE FROM node WHERE id = %(id)s
"""


async def leave(connection: AsyncConnection, node_id: int) -> None:
    """A node that has given everything back is gone."""
    await connection.execute(LEAVE, {"id": node_id})


STEADY = """
SELECT EXISTS (
    SELECT FROM node
    WHERE id = %(id)s AND heartbeat_at > now() - %(dead)s * interval '1 second')
  AND EXISTS (
    SELECT FROM node
    WHERE heartbeat_at BETWEEN now() - %(late)s * interval '1 second' AND now()
      AND good_since <= now() - %(dead)s * interval '1 second')
"""


async def steady(connection: AsyncConnection, node_id: int) -> bool:
    """Whether this node may judge others: it lives, and somebody has long beaten in time.

    Then the database was there for whoever lives, and nobody set its clock. Who judges does so in
    the same transaction, as of the same moment.
    """
    named = {"id": node_id, "dead": DEAD_AFTER_SECONDS, "late": LATE_SECONDS}
    row = await (await connection.execute(STEADY, named)).fetchone()
    return bool(row and row[0])


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


# A process that stands still in the middle of a transaction holds its locks, perhaps that of the
# claim. No time-out of the server ends that: to it a session in a pipeline is never idle.
CUT_OFF = """
SELECT count(pg_terminate_backend(a.pid))::int
FROM node n
JOIN pg_stat_activity a ON a.application_name = n.session AND n.session <> ''
WHERE CASE WHEN %(node)s::int IS NULL THEN n.heartbeat_at < now() - %(dead)s * interval '1 second'
           ELSE n.id = %(node)s END
  AND a.datname = current_database() AND a.usename = current_user AND a.pid <> pg_backend_pid()
  AND a.xact_start < now() - %(long)s * interval '1 second'
"""


async def cut_off_dead(connection: AsyncConnection) -> int:
    """End the transactions of dead nodes that stand still; how many there were.

    To be asked where `steady` has said that the dead are known.
    """
    row = await (await connection.execute(CUT_OFF, _cut_off(None))).fetchone()
    return int(row[0]) if row else 0


def cut_off(connection: Connection, node_id: int) -> int:
    """As `cut_off_dead`, of this node alone; for a thread of it that sees that it stands still."""
    row = connection.execute(CUT_OFF, _cut_off(node_id)).fetchone()
    return int(row[0]) if row else 0


def _cut_off(node_id: int | None) -> dict[str, Any]:
    return {"node": node_id, "dead": DEAD_AFTER_SECONDS, "long": LONG_SECONDS}


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
