"""What the parents of a group found, a bounded number of cells at a time."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import kwargs_row

from orchestrator.domain.rows import ChildRow, ParentRow
from orchestrator.store import parents, plans
from orchestrator.store.children import read


class Part(NamedTuple):
    """A parent and some of its cells, those after an ordinal (0: from the first) to another."""

    parent: ParentRow
    after: int
    last: int


class Reached(NamedTuple):
    """The last cell that was read."""

    parent: UUID
    ordinal: int


# Parents by id, as many as it takes to have so many cells.
PARENTS = """
SELECT id, key_id, state, priority, total, done, failed, canceled, expired, run,
       payload::text AS payload, created_at, started_at, finished_at, lanes, todo, stop,
       not_before, deadline_at, cancel_requested_at, estimated, charged
FROM (
  SELECT *, sum(total) OVER (ORDER BY group_id, id) - total AS before
  FROM (
    SELECT * FROM parent
    WHERE (group_id, id) >= (%(group)s::int, %(first)s::uuid) AND group_id <= %(group)s::int
      AND group_id IS NOT NULL
    ORDER BY group_id, id
    LIMIT %(most)s) AS ordered) AS summed
WHERE before < %(cells)s
ORDER BY group_id, id
"""


async def parts(
    connection: AsyncConnection, group_id: int, *, after: Reached | None, limit: int
) -> tuple[list[Part], Reached | None]:
    """The next cells of the group, and where they end; None when they are the last.

    In a transaction of the caller's, in which `children` follows.
    """
    reached = after or Reached(UUID(int=0), 0)
    cells = limit + reached.ordinal + 1
    await connection.execute(plans.IN_ORDER)
    cursor = connection.cursor(row_factory=kwargs_row(parents.row))
    await cursor.execute(
        PARENTS, {"group": group_id, "first": reached.parent, "cells": cells, "most": limit + 2}
    )
    found: list[Part] = []
    for parent in await cursor.fetchall():
        start = reached.ordinal if parent.id == reached.parent else 0
        if not limit and start < parent.total:
            end = found[-1]
            return found, Reached(end.parent.id, end.last)
        if start < parent.total:
            last = min(parent.total, start + limit)
            found.append(Part(parent, start, last))
            limit -= last - start
            if last < parent.total:
                return found, Reached(parent.id, last)
    return found, None


# LIMIT keeps each a range of the primary key, whatever the planner makes of so many.
CHILDREN = """
SELECT c.parent_id, c.ordinal, c.state, c.attempt, c.run_at, c.started_at, c.claimed_at,
       c.finished_at, c.error::text AS error, array_to_json(c.log)::text AS log,
       c.result::text AS capture, c.response_code, c.lane_id, c.priority > 100 AS sync, c.stop,
       c.cancel_requested_at, c.charged
FROM unnest(%(parents)s::uuid[], %(afters)s::int[], %(lasts)s::int[]) AS part (id, after, last)
CROSS JOIN LATERAL (
  SELECT * FROM child
  WHERE parent_id = part.id AND ordinal > part.after AND ordinal <= part.last
  ORDER BY ordinal LIMIT part.last - part.after) AS c
"""


async def children(
    connection: AsyncConnection, wanted: Sequence[Part]
) -> dict[UUID, list[ChildRow]]:
    """The children there are for these cells, with their captures, by parent."""
    columns = {
        "parents": [part.parent.id for part in wanted],
        "afters": [part.after for part in wanted],
        "lasts": [part.last for part in wanted],
    }
    cursor = connection.cursor(row_factory=kwargs_row(read.row))
    found: dict[UUID, list[ChildRow]] = {}
    async for child in await cursor.execute(CHILDREN, columns):
        found.setdefault(child.parent_id, []).append(child)
    return found
