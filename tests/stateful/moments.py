"""Claims and settles, and when they were by the database's clock."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from orchestrator.store import children
from orchestrator.store.children import Claimed, Outcome

# The moment of a transaction is that of its first statement.
NOW = "SELECT now(), extract(epoch FROM clock_timestamp())::float8"


class Taken(NamedTuple):
    """A claim at this moment; its lanes' buckets were read between two clocks (epoch seconds)."""

    node: int
    token: int
    claimed: Sequence[Claimed]
    at: datetime
    began: float
    ended: float


class Settled(NamedTuple):
    """A settle at this moment, and what it changed."""

    at: datetime
    children: int
    parents: Sequence[UUID]


async def claim(
    connection: AsyncConnection, *, node: int, token: int, slots: int, surfaces: Sequence[str]
) -> Taken:
    named = {"node": node, "token": token, "surfaces": surfaces}
    async with connection.transaction():
        at, began = await _now(connection)
        claimed = await children.claim(connection, slots=slots, **named)
        _, ended = await _now(connection)
    return Taken(node, token, claimed, at, began, ended)


async def settle(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> Settled:
    async with connection.transaction():
        at, _ = await _now(connection)
        settled = await children.settle(connection, outcomes)
    return Settled(at, *settled)


async def _now(connection: AsyncConnection) -> tuple[datetime, float]:
    row = await (await connection.execute(NOW)).fetchone()
    assert row
    return row
