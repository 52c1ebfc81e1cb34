"""Dismissal: a task that waits is canceled and erased at once, as if it had never been sent."""

from typing import NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from orchestrator.domain.states import ParentState
from orchestrator.store.steering.erase import Erased, erase_all
from orchestrator.store.steering.stop import stop

LOCK = """
SELECT state FROM parent
WHERE id = %(parent)s AND key_id = %(key)s AND queue IS NOT NULL
FOR UPDATE
"""

# A claim passes over what is locked: what is not called now will not be.
HOLD_CHILD = """
SELECT state FROM child WHERE parent_id = %(parent)s AND ordinal = 1 FOR NO KEY UPDATE
"""


class NotDismissible(NamedTuple):
    """It is called at this moment, or has ended."""


async def dismiss(
    connection: AsyncConnection, *, key_id: int, parent: UUID
) -> Erased | NotDismissible | None:
    """Have nothing left of a task of this key that waits, also between its attempts.

    None: the key has no such task. Must run inside a transaction, before anything that locks.
    """
    named = {"parent": parent, "key": key_id}
    row = await (await connection.execute(LOCK, named)).fetchone()
    if row is None:
        return None
    state = ParentState(row[0])
    if state.ended:
        return NotDismissible()
    if not state.waiting:
        child = await (await connection.execute(HOLD_CHILD, named)).fetchone()
        if child is None or child[0] == "processing":
            return NotDismissible()
    await stop(connection, [parent], "canceled", waiting=state.waiting, asked=True)
    await erase_all(connection, [parent])
    return Erased()
