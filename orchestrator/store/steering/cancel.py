"""Cancels: of a parent, of one of its cells, and of all a key has that has not started."""

from datetime import datetime
from typing import NamedTuple, cast
from uuid import UUID

from psycopg import AsyncConnection

from orchestrator.domain.states import ParentState
from orchestrator.store import deliveries, plans, waits
from orchestrator.store.steering.erase import erase_all
from orchestrator.store.steering.stop import stop

MOST = 500
"""Parents canceled in one transaction of many."""

LOCK = """
SELECT state, cancel_requested_at IS NOT NULL AS asked, todo, total
FROM parent
WHERE id = %(parent)s AND key_id = %(key)s
FOR NO KEY UPDATE
"""

# A cell without a row ended with its parent, before that was fanned out.
CELL = """
SELECT c.parent_id IS NULL OR c.finished_at IS NOT NULL,
       CASE WHEN c.parent_id IS NULL THEN p.cancel_requested_at ELSE c.cancel_requested_at END
         IS NOT NULL
FROM parent p
LEFT JOIN child c ON c.parent_id = p.id AND c.ordinal = %(ordinal)s
WHERE p.id = %(parent)s
"""

# A cell of a parent that waits gets its row when it ends alone, and is not among those to run.
CANCEL_CELL = """
WITH left_over AS (
  UPDATE parent p
  SET done = p.done + 1, canceled = p.canceled + 1,
      todo = array_remove(%(todo)s::int2[], %(ordinal)s::int2),
      state = rolled_up(p.state, p.total, p.done + 1, p.failed, p.canceled + 1, p.expired, p.finish,
                        p.cancel_requested_at IS NOT NULL),
      stop = CASE WHEN p.done + 1 = p.total THEN 'canceled' END,
      finished_at = CASE WHEN p.done + 1 = p.total THEN now() END
  WHERE p.id = %(parent)s
  RETURNING p.*
)
INSERT INTO child (parent_id, ordinal, key_id, lane_id, group_id, priority, state, stop,
                   cancel_requested_at, finished_at)
SELECT id, %(ordinal)s, key_id, lanes[%(ordinal)s], group_id, priority, 'canceled', 'canceled',
       now(), now()
FROM left_over
ON CONFLICT (parent_id, ordinal) DO UPDATE SET
  state = 'canceled', stop = 'canceled', cancel_requested_at = now(), finished_at = now(),
  result = NULL, error = NULL, log = NULL, attempt = 0, lost = 0, charged = 0,
  response_code = NULL, started_at = NULL, claimed_at = NULL
"""


class Canceled(NamedTuple):
    """It is canceled, or was before: what had not started ended, what runs is told to."""


class NotCancelable(NamedTuple):
    """It ended before anybody asked for a cancel."""


async def cancel(
    connection: AsyncConnection, *, key_id: int, parent: UUID, ordinal: int | None = None
) -> Canceled | NotCancelable | None:
    """Cancel a parent of this key, or one cell of it; None: it has no such parent.

    Once the transaction is committed no child of it starts. Must run inside one, before anything
    else in it that locks.
    """
    cursor = await connection.execute(LOCK, {"parent": parent, "key": key_id})
    row = await cursor.fetchone()
    if row is None:
        return None
    state, asked, todo, total = ParentState(row[0]), *row[1:]
    if ordinal is not None:
        cells = todo or list(range(1, total + 1))
        return await _cancel_cell(connection, parent, ordinal, cells if state.waiting else None)
    if state.ended:
        return Canceled() if asked else NotCancelable()
    await stop(connection, [parent], "canceled", waiting=state.waiting, asked=True)
    return Canceled()


async def _cancel_cell(
    connection: AsyncConnection, parent: UUID, ordinal: int, todo: list[int] | None
) -> Canceled | NotCancelable:
    """`todo`: the cells that wait, when the parent does."""
    if todo is not None and ordinal in todo:
        named = {"parent": parent, "ordinal": ordinal, "todo": todo}
        await connection.execute(plans.PROBE)
        await connection.execute(CANCEL_CELL, named)
        await deliveries.tell(connection, [parent])
        await waits.tell(connection, [parent])
        return Canceled()
    cursor = await connection.execute(CELL, {"parent": parent, "ordinal": ordinal})
    row = await cursor.fetchone()
    assert row  # noqa: S101 - its parent is there, and locked
    ended, asked = row
    if not ended:
        await stop(connection, [parent], "canceled", waiting=False, asked=True, ordinal=ordinal)
    return Canceled() if asked or not ended else NotCancelable()


WAITING = """
SELECT id FROM parent
WHERE key_id = %(key)s AND state = %(state)s AND created_at <= %(before)s
ORDER BY id
LIMIT %(most)s
FOR NO KEY UPDATE
"""

UNSTARTED = """
SELECT id FROM parent p
WHERE key_id = %(key)s AND state = 'processing' AND mode = 'async' AND created_at <= %(before)s
  AND stop IS NULL
  AND NOT EXISTS (SELECT FROM child c WHERE c.parent_id = p.id AND c.started_at IS NOT NULL)
ORDER BY id
LIMIT %(most)s
FOR NO KEY UPDATE
"""

# Claims pass over what is locked here: what has not started by now will not.
HOLD_CHILDREN = """
SELECT parent_id FROM child
WHERE parent_id = ANY(%(parents)s) AND finished_at IS NULL
ORDER BY parent_id, ordinal
FOR NO KEY UPDATE
"""

STARTED = """
SELECT DISTINCT parent_id FROM child
WHERE parent_id = ANY(%(parents)s) AND started_at IS NOT NULL
"""

TASKS = """
SELECT id FROM parent
WHERE id = ANY(%(parents)s::uuid[]) AND payload ->> 'task_type' IS NOT NULL
"""

CLOCK = """
SELECT clock_timestamp()
"""


async def clock(connection: AsyncConnection) -> datetime:
    """The database's time: what is accepted from now on is not cleared."""
    ((now,),) = await (await connection.execute(CLOCK)).fetchall()
    return cast("datetime", now)


CLEARED = ("delayed", "queued", "processing")
"""The states a queue is cleared of, in the order parents go through them: none slips through."""


class Swept(NamedTuple):
    """How many parents were canceled, and whether there may be more in that state."""

    parents: int
    more: bool


async def clear(
    connection: AsyncConnection,
    *,
    key_id: int,
    state: str,
    before: datetime,
    most: int = MOST,
) -> Swept:
    """Cancel parents of a key that came before and of which nothing has started, a batch of them.

    Those in one of the states `CLEARED`, which a caller goes through in their order. Nothing is
    left of cloro's tasks among them. Must run inside a transaction.
    """
    named = {"key": key_id, "state": state, "before": before, "most": most}
    waiting = state != "processing"
    await connection.execute(plans.PROBE)
    cursor = await connection.execute(WAITING if waiting else UNSTARTED, named)
    found = parents = [parent async for (parent,) in cursor]
    if not waiting:
        await connection.execute(HOLD_CHILDREN, {"parents": parents})
        cursor = await connection.execute(STARTED, {"parents": parents})
        started = {parent async for (parent,) in cursor}
        parents = [parent for parent in parents if parent not in started]
    told = await stop(connection, parents, "canceled", waiting=waiting, asked=True)
    cursor = await connection.execute(TASKS, {"parents": parents})
    if tasks := [task async for (task,) in cursor]:
        await erase_all(connection, tasks)
    return Swept(told.parents, more=len(found) == most)
