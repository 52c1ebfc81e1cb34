"""Reading everything there is, as of one moment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString

from psycopg import AsyncConnection, IsolationLevel
from psycopg.rows import dict_row

from orchestrator.domain.states import ChildState, ParentState
from orchestrator.store import counters
from tests.stateful.checks import Seen
from tests.stateful.lanes import Breaker
from tests.stateful.records import CallerRow, ChildRow, ParentRow, Reserved

PARENTS = """
SELECT p.id, p.finished_at, p.state, p.lanes, p.todo, p.key_id AS key, p.priority, p.mode,
       p.idempotency_key AS name,
       CASE WHEN p.fingerprint IS NOT NULL THEN p.payload::text END AS payload, g.name AS group,
       p.finish, p.deadline_at IS NOT NULL AS deadline, p.done, p.failed, p.canceled, p.expired,
       p.charged, p.run, p.stop, p.cancel_requested_at IS NOT NULL AS asked,
       coalesce(p.not_before <= now(), false) AS due,
       coalesce(p.deadline_at <= now(), false) AS overdue
FROM parent p
LEFT JOIN parent_group g ON g.id = p.group_id
"""
CHILDREN = """
SELECT parent_id, ordinal, key_id, lane_id, priority, state, attempt, lost, claim, node,
       coalesce(cardinality(log), 0), result::text, error ->> 'code',
       coalesce(run_at <= now(), false), stop, cancel_requested_at IS NOT NULL, charged,
       started_at IS NOT NULL
FROM child
"""
CALLERS = "SELECT id, key_id, parent_id, node FROM sync_wait"
RESERVATIONS = """
SELECT id, key_id, places FROM reservation WHERE expires_at > now() AND places > 0
"""
BREAKERS = """
SELECT id, failures, CASE WHEN open_until IS NULL THEN 'closed'
                          WHEN open_until > now() THEN 'open' ELSE 'half open' END
FROM lane
WHERE failures <> 0 OR open_until IS NOT NULL
"""


async def seen(connection: AsyncConnection) -> Seen:
    """All rows and the counters that do not count them."""
    async with one_moment(connection):
        seen = Seen(differences=await counters.differences(connection))
        cursor = await connection.cursor(row_factory=dict_row).execute(PARENTS)
        async for row in cursor:
            parent, end = row.pop("id"), row.pop("finished_at")
            seen.parents[parent] = _parent(**row)
            if end:
                seen.finished[parent, row["run"]] = end
        for parent, ordinal, *row in await rows(connection, CHILDREN):
            row[3] = ChildState(row[3])
            seen.children[parent, ordinal] = ChildRow(*row)
        for caller, *rest in await rows(connection, CALLERS):
            seen.callers[caller] = CallerRow(*rest)
        for reservation, *rest in await rows(connection, RESERVATIONS):
            seen.reservations[reservation] = Reserved(*rest)
        for lane, *rest in await rows(connection, BREAKERS):
            seen.breakers[lane] = Breaker(*rest)
    return seen


def _parent(*, state: str, lanes: list[int], todo: list[int] | None, **columns: Any) -> ParentRow:
    ordinals = None if todo is None else tuple(todo)
    return ParentRow(state=ParentState(state), lanes=tuple(lanes), todo=ordinals, **columns)


@asynccontextmanager
async def one_moment(connection: AsyncConnection) -> AsyncIterator[None]:
    """Statements in here see the same."""
    await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    try:
        async with connection.transaction():
            yield
    finally:
        await connection.set_isolation_level(None)


async def rows(
    connection: AsyncConnection, statement: LiteralString, **named: Any
) -> list[tuple[Any, ...]]:
    """Everything a statement shows."""
    return await (await connection.execute(statement, named)).fetchall()
