"""Reading everything there is, as of one moment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString

from psycopg import AsyncConnection, IsolationLevel
from psycopg.rows import dict_row

from orchestrator.domain import lanes
from orchestrator.domain.states import ChildState, ParentState
from orchestrator.store import counters
from tests.stateful.checks import Seen
from tests.stateful.lanes import Bucket, Lane
from tests.stateful.records import CallerRow, ChildRow, ParentRow, Reserved

PARENTS = """
SELECT p.id, p.finished_at, p.state, p.lanes, p.todo, p.key_id AS key, p.priority, p.mode,
       p.idempotency_key AS name,
       CASE WHEN p.fingerprint IS NOT NULL THEN p.payload::text END AS payload, g.name AS group,
       p.finish, p.deadline_at IS NOT NULL AS deadline, p.tells,
       p.done, p.failed, p.canceled, p.expired, p.estimated, p.charged, p.run, p.stop,
       p.cancel_requested_at IS NOT NULL AS asked,
       coalesce(p.not_before <= now(), false) AS due,
       coalesce(p.deadline_at <= now(), false) AS overdue
FROM parent p
LEFT JOIN parent_group g ON g.id = p.group_id
"""
CHILDREN = """
SELECT parent_id, ordinal, key_id, lane_id, priority, state, attempt, lost, claim, node,
       CASE WHEN claim IS NOT NULL THEN claimed_at END, coalesce(cardinality(log), 0),
       result::text, error ->> 'code', coalesce(run_at <= now(), false), stop,
       cancel_requested_at IS NOT NULL, charged, started_at IS NOT NULL
FROM child
"""
CALLERS = "SELECT id, key_id, parent_id, node FROM sync_wait"
TOLD = "SELECT parent_id, run, ordinal, state FROM delivery"
RESERVATIONS = """
SELECT id, key_id, places FROM reservation WHERE expires_at > now() AND places > 0
"""
CREDITS = "SELECT key_id, credits, charged FROM usage"
# A bucket that is not there is empty, and stays so.
LANES = """
SELECT l.id, l.surface, l.country, l.rate, l.paused_at IS NOT NULL,
       coalesce(p.tokens, 0), coalesce(p.filled_at, 'infinity'),
       l.concurrency, l.limited, l.adaptive, l.good, l.halved_at,
       l.failures, l.open_until, l.not_before, l.allowed
FROM lane l
LEFT JOIN lane_pace p ON p.lane_id = l.id
"""
SERVED = """
SELECT unnest(surfaces) FROM node WHERE heartbeat_at > now() - interval '10 seconds'
"""
LEARNED = (
    *("concurrency", "limited", "adaptive", "good", "halved_at"),
    *("failures", "open_until", "not_before"),
)


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
        for key, free, charged in await rows(connection, CREDITS):
            seen.free[key], seen.charged[key] = free, charged
        for *event, state in await rows(connection, TOLD):
            seen.told[*event,] = state
        seen.lanes = await lanes_of(connection)
    return seen


async def lanes_of(connection: AsyncConnection) -> dict[int, Lane]:
    """Every lane, by its id."""
    return {row[0]: _lane(*row[1:]) for row in await rows(connection, LANES)}


async def served(connection: AsyncConnection) -> frozenset[str]:
    """The surfaces that live workers serve."""
    return frozenset(surface for (surface,) in await rows(connection, SERVED))


def _lane(surface: str, country: str, rate: float | None, *columns: Any) -> Lane:
    paused, tokens, filled_at, *learned, allowed = columns
    remembered = lanes.Lane(**dict(zip(LEARNED, learned, strict=True)))
    assert remembered.allowed == allowed
    return Lane(surface, country, remembered, rate, paused, Bucket(tokens, filled_at))


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
