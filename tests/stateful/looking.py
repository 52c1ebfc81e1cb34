"""Reading everything there is, as of one moment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString

from psycopg import AsyncConnection, IsolationLevel

from orchestrator.domain.states import ChildState, ParentState
from orchestrator.store import counters
from tests.stateful.checks import Seen
from tests.stateful.rows import Breaker, CallerRow, ChildRow, ParentRow

PARENTS = """
SELECT id, key_id, lanes, priority, mode, idempotency_key,
       CASE WHEN fingerprint IS NOT NULL THEN payload::text END, state, done, failed, run,
       finished_at
FROM parent
"""
CHILDREN = """
SELECT parent_id, ordinal, key_id, lane_id, priority, state, attempt, lost, claim, node,
       coalesce(cardinality(log), 0), result::text, error ->> 'code',
       coalesce(run_at <= now(), false)
FROM child
"""
CALLERS = "SELECT id, key_id, parent_id, node FROM sync_wait"
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
        for parent, key, lanes, *rest, state, done, failed, run, end in await rows(
            connection, PARENTS
        ):
            ends = ParentState(state), done, failed, run
            seen.parents[parent] = ParentRow(key, tuple(lanes), *rest, *ends)
            if end:
                seen.finished[parent] = end
        for parent, ordinal, *row in await rows(connection, CHILDREN):
            row[3] = ChildState(row[3])
            seen.children[parent, ordinal] = ChildRow(*row)
        for caller, *rest in await rows(connection, CALLERS):
            seen.callers[caller] = CallerRow(*rest)
        for lane, *rest in await rows(connection, BREAKERS):
            seen.breakers[lane] = Breaker(*rest)
    return seen


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
