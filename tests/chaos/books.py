"""What the database says of a key's jobs once all is over, as the auditor reads it."""

from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection, IsolationLevel
from psycopg.rows import class_row

from orchestrator.store import counters
from tests.chaos import journal
from tests.chaos.journal import Journal
from tests.stateful.audits import FORGOTTEN, NOT_ADDING_UP, OUT_OF_PLACE, PAST_A_LIMIT


class ParentRow(NamedTuple):
    """A parent; `name` is its idempotency key. Of what ends it `tells` (a webhook) or not."""

    id: UUID
    query: str
    name: str | None
    state: str
    run: int
    total: int
    done: int
    failed: int
    finished: bool
    tells: bool


class ChildRow(NamedTuple):
    """A child, and where it looks from."""

    parent: UUID
    ordinal: int
    query: str
    surface: str
    country: str
    state: str
    attempt: int
    finished: bool
    captured: bool


class Books(NamedTuple):
    """The rows of one key, what was noted of them, and what the counters of all keys leak."""

    parents: list[ParentRow]
    children: list[ChildRow]
    limits: dict[tuple[str, str], int]
    leaks: list[str]
    journal: Journal


PARENTS = """
SELECT p.id, p.payload ->> 'query' AS query, p.idempotency_key AS name, p.state, p.run, p.total,
       p.done, p.failed, p.finished_at IS NOT NULL AS finished, p.tells > 0 AS tells
FROM parent p JOIN api_key k ON k.id = p.key_id
WHERE k.name = %(key)s
"""
CHILDREN = """
SELECT c.parent_id AS parent, c.ordinal, p.payload ->> 'query' AS query, l.surface, l.country,
       c.state, c.attempt, c.finished_at IS NOT NULL AS finished, c.result IS NOT NULL AS captured
FROM child c
JOIN lane l ON l.id = c.lane_id
JOIN parent p ON p.id = c.parent_id JOIN api_key k ON k.id = p.key_id
WHERE k.name = %(key)s
"""
LIMITS = """
SELECT surface, country, concurrency FROM lane
"""


async def read(connection: AsyncConnection, key: str) -> Books:
    """Everything of the key of this name, in one snapshot."""
    await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    async with connection.transaction():
        parents = connection.cursor(row_factory=class_row(ParentRow))
        children = connection.cursor(row_factory=class_row(ChildRow))
        limits = await connection.execute(LIMITS)
        return Books(
            parents=await (await parents.execute(PARENTS, {"key": key})).fetchall(),
            children=await (await children.execute(CHILDREN, {"key": key})).fetchall(),
            limits={(surface, country): n async for surface, country, n in limits},
            leaks=[str(leak) for leak in await _leaks(connection)],
            journal=await journal.read(connection, key),
        )


async def _leaks(connection: AsyncConnection) -> list[Any]:
    """Counters that differ from a recount, parents that do not add up, limits passed."""
    leaks: list[Any] = list(await counters.differences(connection))
    for check in (PAST_A_LIMIT, OUT_OF_PLACE, NOT_ADDING_UP, FORGOTTEN):
        leaks += await (await connection.execute(check)).fetchall()
    return leaks
