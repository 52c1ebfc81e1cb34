"""Tasks of queues, listed newest first: of one queue or of all, with one status or with any."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from orchestrator.domain.dialects.asyncqueue import TaskStatus
from orchestrator.domain.rows import ParentRow
from orchestrator.store import parents, plans

MOST_COUNTED = 10_000
LAST = UUID(int=(1 << 128) - 1)
"""After every task."""


class Wanted(NamedTuple):
    """Which tasks of a key."""

    key_id: int
    queue: str | None = None
    status: TaskStatus | None = None


WAITING, WORKING = ("delayed", "queued"), ("processing",)
_STATES: dict[TaskStatus | None, tuple[str, ...]] = {
    "pending": (*WAITING, *WORKING),
    "active": WORKING,
    "completed": ("completed",),
    "failed": ("failed", "canceled", "expired"),
    None: (*WAITING, *WORKING, "completed", "failed", "canceled", "expired"),
}
"""The states of parents whose tasks have a status, as far as they tell."""

# Of each state so many, put in order then. Its bounds are told as rows of the index, which
# alone gives the order then: by equalities the primary key would too, and all parents be read. Of
# those at work the one child says whether it is called at this moment.
OF_ALL = """
SELECT t.id
FROM unnest(%(states)s::text[]) AS wanted (state)
CROSS JOIN LATERAL (
  SELECT id FROM parent p
  WHERE (key_id, p.state, id) <= (%(key)s::int, wanted.state, %(last)s::uuid)
    AND (key_id, p.state) >= (%(key)s::int, wanted.state) AND queue IS NOT NULL
    AND (%(called)s::bool IS NULL OR p.state <> 'processing'
         OR %(called)s = EXISTS (SELECT FROM child c
                                 WHERE c.parent_id = p.id AND c.ordinal = 1
                                   AND lower(c.state) = 'processing'))
  ORDER BY key_id DESC, p.state DESC, id DESC
  LIMIT %(most)s) AS t
ORDER BY t.id DESC
OFFSET %(offset)s
LIMIT %(limit)s
"""

OF_QUEUE = """
SELECT t.id
FROM unnest(%(states)s::text[]) AS wanted (state)
CROSS JOIN LATERAL (
  SELECT id FROM parent p
  WHERE (queue, key_id, p.state, id)
        <= (%(queue)s::text, %(key)s::int, wanted.state, %(last)s::uuid)
    AND (queue, key_id, p.state) >= (%(queue)s::text, %(key)s::int, wanted.state)
    AND queue IS NOT NULL
    AND (%(called)s::bool IS NULL OR p.state <> 'processing'
         OR %(called)s = EXISTS (SELECT FROM child c
                                 WHERE c.parent_id = p.id AND c.ordinal = 1
                                   AND lower(c.state) = 'processing'))
  ORDER BY queue DESC, key_id DESC, p.state DESC, id DESC
  LIMIT %(most)s) AS t
ORDER BY t.id DESC
OFFSET %(offset)s
LIMIT %(limit)s
"""

COUNTED_OF_ALL = f"SELECT count(*)::int FROM ({OF_ALL}) AS t"  # noqa: S608 - of this file
COUNTED_OF_QUEUE = f"SELECT count(*)::int FROM ({OF_QUEUE}) AS t"  # noqa: S608 - of this file


async def page(
    connection: AsyncConnection, wanted: Wanted, *, limit: int, offset: int
) -> list[ParentRow]:
    """At most `limit` of these tasks, newest first, in a transaction of the caller's."""
    found = await _ids(connection, wanted, limit=limit, offset=offset)
    rows = await parents.many(connection, found)
    return [rows[task] for task in found if task in rows]


async def total(connection: AsyncConnection, wanted: Wanted) -> int:
    """How many of these tasks there are, counted up to 10,000."""
    statement = COUNTED_OF_ALL if wanted.queue is None else COUNTED_OF_QUEUE
    await connection.execute(plans.PROBE_FIRST)
    named = _named(wanted, limit=MOST_COUNTED, offset=0)
    row = await (await connection.execute(statement, named)).fetchone()
    return int(row[0]) if row else 0


async def _ids(
    connection: AsyncConnection, wanted: Wanted, *, limit: int, offset: int
) -> Sequence[UUID]:
    statement = OF_ALL if wanted.queue is None else OF_QUEUE
    await connection.execute(plans.PROBE_FIRST)
    named = _named(wanted, limit=limit, offset=offset)
    return [task async for (task,) in await connection.execute(statement, named)]


def _named(wanted: Wanted, *, limit: int, offset: int) -> dict[str, Any]:
    return {
        "key": wanted.key_id,
        "last": LAST,
        "queue": wanted.queue,
        "states": list(_STATES[wanted.status]),
        "called": {"pending": False, "active": True}.get(wanted.status or ""),
        "most": limit + offset,
        "limit": limit,
        "offset": offset,
    }
