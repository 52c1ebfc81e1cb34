"""Reading children: of a parent, one of them, and their results page by page."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import class_row, kwargs_row

from orchestrator.domain.envelope import Failure
from orchestrator.domain.rows import Attempt, ChildRow
from orchestrator.domain.states import ChildState
from orchestrator.store.children.outcomes import Fence

_failure = msgspec.json.Decoder(Failure)
_log = msgspec.json.Decoder(tuple[Attempt, ...])


def row(
    *, state: str, error: str | None, log: str | None, capture: str | None, **columns: Any
) -> ChildRow:
    """A child from the columns of the statements here."""
    return ChildRow(
        state=ChildState(state),
        error=_failure.decode(error) if error else None,
        log=_log.decode(log) if log else (),
        capture=msgspec.Raw(capture.encode()) if capture else None,
        **columns,
    )


OF = """
SELECT parent_id, ordinal, state, attempt, run_at, started_at, claimed_at, finished_at,
       error::text AS error, array_to_json(log)::text AS log, NULL AS capture,
       response_code, lane_id, priority > 100 AS sync, stop, cancel_requested_at, charged
FROM child
WHERE parent_id = %(parent)s
ORDER BY ordinal
"""


async def of(connection: AsyncConnection, parent: UUID) -> list[ChildRow]:
    """Every child of a parent in ordinal order, without captures. None while it is queued."""
    cursor = connection.cursor(row_factory=kwargs_row(row))
    return await (await cursor.execute(OF, {"parent": parent})).fetchall()


ONE = """
SELECT parent_id, ordinal, state, attempt, run_at, started_at, claimed_at, finished_at,
       error::text AS error, array_to_json(log)::text AS log, result::text AS capture,
       response_code, lane_id, priority > 100 AS sync, stop, cancel_requested_at, charged
FROM child
WHERE parent_id = %(parent)s AND ordinal = %(ordinal)s
"""


async def one(connection: AsyncConnection, parent: UUID, ordinal: int) -> ChildRow | None:
    """One child with its capture; None while its parent is queued."""
    cursor = connection.cursor(row_factory=kwargs_row(row))
    return await (await cursor.execute(ONE, {"parent": parent, "ordinal": ordinal})).fetchone()


FIRSTS = """
SELECT c.*
FROM unnest(%(parents)s::uuid[]) AS asked (id)
CROSS JOIN LATERAL (
  SELECT parent_id, ordinal, state, attempt, run_at, started_at, claimed_at, finished_at,
         error::text AS error, array_to_json(log)::text AS log,
         CASE WHEN %(whole)s THEN result::text END AS capture,
         response_code, lane_id, priority > 100 AS sync, stop, cancel_requested_at, charged
  FROM child
  WHERE parent_id = asked.id AND ordinal = 1
  LIMIT 1) AS c
"""


async def firsts(
    connection: AsyncConnection, parents: Collection[UUID], *, whole: bool = False
) -> dict[UUID, ChildRow]:
    """The first child of each of these parents that has any; with its capture when `whole`."""
    cursor = connection.cursor(row_factory=kwargs_row(row))
    await cursor.execute(FIRSTS, {"parents": list(parents), "whole": whole})
    return {child.parent_id: child async for child in cursor}


RESULTS = """
SELECT parent_id, ordinal, state, attempt, run_at, started_at, claimed_at, finished_at,
       error::text AS error, array_to_json(log)::text AS log, result::text AS capture,
       response_code, lane_id, priority > 100 AS sync, stop, cancel_requested_at, charged
FROM child
WHERE parent_id = %(parent)s AND ordinal > %(after)s
ORDER BY ordinal
LIMIT %(limit)s
"""


async def results(
    connection: AsyncConnection, parent: UUID, *, after: int, limit: int
) -> list[ChildRow]:
    """Children with their captures in ordinal order, those after an ordinal (0: from the first)."""
    cursor = connection.cursor(row_factory=kwargs_row(row))
    await cursor.execute(RESULTS, {"parent": parent, "after": after, "limit": limit})
    return await cursor.fetchall()


STOPPED = """
SELECT parent_id, ordinal, claim FROM child
WHERE state = 'processing' AND stop IS NOT NULL AND node = %(node)s
"""


async def stopped(connection: AsyncConnection, node: int) -> list[Fence]:
    """The children this node runs that were told to stop."""
    cursor = connection.cursor(row_factory=class_row(Fence))
    return await (await cursor.execute(STOPPED, {"node": node})).fetchall()
