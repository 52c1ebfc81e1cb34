"""Erasing: an ended parent goes with all it found and tells, and its idempotency key is free."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from admission import usage
from orchestrator.store import deliveries, plans

LOCK = """
SELECT finished_at IS NOT NULL, group_id IS NOT NULL FROM parent
WHERE id = %(parent)s AND key_id = %(key)s
FOR UPDATE
"""

ERASE = """
WITH gone AS (DELETE FROM child WHERE parent_id = ANY(%(parents)s::uuid[]))
DELETE FROM parent WHERE id = ANY(%(parents)s::uuid[])
"""


class Erased(NamedTuple):
    """Nothing is left of it."""


class NotEnded(NamedTuple):
    """It has not ended: it can be canceled, not erased."""


async def erase(
    connection: AsyncConnection, *, key_id: int, parent: UUID
) -> Erased | NotEnded | None:
    """Erase an ended parent of this key; None: it has no such parent. Inside a transaction."""
    named = {"parent": parent, "key": key_id}
    row = await (await connection.execute(LOCK, named)).fetchone()
    if row is None:
        return None
    if not row[0]:
        return NotEnded()
    if row[1]:  # its usage row is the mutex of its groups' counters
        await usage.lock(connection, [key_id])
    await erase_all(connection, [parent])
    return Erased()


async def erase_all(connection: AsyncConnection, parents: Sequence[UUID]) -> None:
    """Have nothing left of these parents, which have ended and are locked by the caller.

    Of those in groups the caller holds the usage locks of their keys.
    """
    await connection.execute(plans.PROBE)
    await deliveries.forget(connection, parents)
    await connection.execute(ERASE, {"parents": list(parents)})
