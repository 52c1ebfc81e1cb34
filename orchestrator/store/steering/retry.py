"""Retries by users: the next run of a parent, for some of its cells, admitted like any other."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from admission.demand import Demand
from orchestrator import notify
from orchestrator.domain import plan as plans
from orchestrator.domain.envelope import OVERDUE
from orchestrator.domain.states import ParentState
from orchestrator.store import deliveries

_OVERDUE = msgspec.json.encode(OVERDUE).decode()
RETRYABLE = ("failed", "expired", "canceled")
"""The ends a cell may be run again after."""

LOCK = """
SELECT state, payload::text FROM parent WHERE id = %(parent)s AND key_id = %(key)s FOR NO KEY UPDATE
"""

CELLS = """
SELECT o, coalesce(c.state, p.stop)
FROM parent p
CROSS JOIN generate_series(1, p.total) AS o
LEFT JOIN child c ON c.parent_id = p.id AND c.ordinal = o
WHERE p.id = %(parent)s AND coalesce(c.state, p.stop) = ANY(%(statuses)s)
  AND o = coalesce(%(ordinal)s::int, o)
ORDER BY o
"""

# Cells that ended in the queue without rows, and do not run again, get them: what they ended as was
# on the parent.
AGAIN = """
WITH kept AS (
  INSERT INTO child (parent_id, ordinal, key_id, lane_id, group_id, priority, state, stop,
                     cancel_requested_at, error, finished_at)
  SELECT p.id, o, p.key_id, p.lanes[o], p.group_id, p.priority, p.stop, p.stop,
         p.cancel_requested_at, CASE WHEN p.stop = 'expired' THEN %(overdue)s::json END,
         p.finished_at
  FROM parent p
  CROSS JOIN generate_series(1, p.total) AS o
  WHERE p.id = %(parent)s AND p.stop IS NOT NULL AND o <> ALL(%(todo)s::int2[])
  ON CONFLICT (parent_id, ordinal) DO NOTHING
)
UPDATE parent
SET state = 'queued', mode = 'async', run = run + 1, todo = %(todo)s::int2[],
    done = done - %(cells)s, failed = failed - %(failed)s, canceled = canceled - %(canceled)s,
    expired = expired - %(expired)s, estimated = charged + %(credits)s,
    stop = NULL, cancel_requested_at = NULL, not_before = NULL,
    deadline_at = now() + (payload ->> 'deadline')::float8 * interval '1 second',
    started_at = NULL, finished_at = NULL
WHERE id = %(parent)s
"""


class Again(NamedTuple):
    """Cells that may run again: their ordinals, how each ended, and what they may cost."""

    parent: UUID
    todo: Sequence[int]
    ends: Counter[str]
    credits: int = 0

    def demand(self, key_id: int) -> Demand:
        """What it would take of its key."""
        return Demand(key_id, cells=len(self.todo), credits=self.credits)


class NotRetryable(NamedTuple):
    """It has not ended, or none of its cells ended so that it could run again."""

    ended: bool


async def retryable(
    connection: AsyncConnection,
    *,
    key_id: int,
    parent: UUID,
    statuses: Sequence[str] = RETRYABLE,
    ordinal: int | None = None,
) -> Again | NotRetryable | None:
    """What of a parent of this key, or of one cell of it, may run again; None: no such parent.

    Locks the parent until the transaction ends; the next steps are admission, then `again`.
    """
    cursor = await connection.execute(LOCK, {"parent": parent, "key": key_id})
    row = await cursor.fetchone()
    if row is None:
        return None
    state = ParentState(row[0])
    if not state.ended or state is ParentState.COMPLETED:
        return NotRetryable(state.ended)
    named = {"parent": parent, "statuses": list(statuses), "ordinal": ordinal}
    cells = await (await connection.execute(CELLS, named)).fetchall()
    if not cells:
        return NotRetryable(ended=True)
    todo = [cell for cell, _ in cells]
    asked = plans.decode(row[1])
    return Again(parent, todo, Counter(end for _, end in cells), asked.cost(todo))


async def again(connection: AsyncConnection, retry: Again) -> None:
    """Put the parent back into its queue for these cells, as its next run.

    The caller holds the parent's lock since `retryable`, and the key's usage lock: it was admitted.
    A parent that was sync is async from now on: nobody waits, and it takes a place of the queue.
    """
    ends = {end: retry.ends[end] for end in RETRYABLE}
    todo = list(retry.todo)
    named = {
        "parent": retry.parent,
        "todo": todo,
        "cells": len(todo),
        "credits": retry.credits,
        **ends,
    }
    await deliveries.keep(connection, retry.parent, todo)
    await connection.execute(AGAIN, {**named, "overdue": _OVERDUE})
    await connection.execute(notify.NOTIFY, {"channel": notify.ADMITTED})
