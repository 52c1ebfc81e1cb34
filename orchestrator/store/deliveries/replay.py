"""Replaying: a delivery is sent again, its event and its schedule from the beginning."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

from orchestrator import notify
from orchestrator.domain.ids import EventId
from orchestrator.store import plans
from orchestrator.store.deliveries.record import Status

MOST = 1_000
"""Deliveries replayed in one transaction of many."""

# `status` None: whatever it is.
REPLAY = """
WITH locked AS MATERIALIZED (
  SELECT d.parent_id, d.run, d.ordinal
  FROM unnest(%(parents)b::uuid[], %(runs)b::int4[], %(ordinals)b::int2[])
    AS asked (parent_id, run, ordinal)
  JOIN delivery d ON d.parent_id = asked.parent_id AND d.run = asked.run
                 AND d.ordinal = asked.ordinal
  ORDER BY d.parent_id, d.run, d.ordinal
  FOR NO KEY UPDATE OF d
)
UPDATE delivery d
SET status = 'pending', again = false, attempts = 0, claim = NULL, delivered_at = NULL,
    due_at = now()
FROM locked l
WHERE d.parent_id = l.parent_id AND d.run = l.run AND d.ordinal = l.ordinal
  AND d.key_id = %(key)s AND lower(d.status) = coalesce(%(status)s, lower(d.status))
"""


async def replay(connection: AsyncConnection, *, key_id: int, event: EventId) -> bool:
    """Have this delivery of the key sent again; False: it has none such. In a transaction.

    Whoever attempts it at the moment comes too late to record it.
    """
    await connection.execute(plans.PROBE)
    return await _replay(connection, key_id, [event]) > 0


async def _replay(
    connection: AsyncConnection,
    key_id: int,
    events: Sequence[EventId],
    status: Status | None = None,
) -> int:
    """How many of these are sent again: the key's, of this status if any is asked for."""
    named = {
        "key": key_id,
        "status": status,
        "parents": [event.parent for event in events],
        "runs": [event.run for event in events],
        "ordinals": [event.ordinal for event in events],
    }
    replayed = (await connection.execute(REPLAY, named)).rowcount
    if replayed:
        await connection.execute(notify.NOTIFY, {"channel": notify.TOLD})
    return replayed


# In the order of their index, so that a batch goes on where the one before ended.
PENDING = """
SELECT created_at, parent_id, ordinal, run FROM delivery
WHERE (key_id, created_at, parent_id, ordinal, run)
      > (%(key)s, %(created_at)s, %(parent_id)s, %(ordinal)s, %(run)s)
  AND (key_id, created_at) < (%(key)s, %(until)s)
  AND status = 'pending'
ORDER BY key_id, created_at, parent_id, ordinal, run
LIMIT %(most)s
"""

# What came home since the call began is not sent a third time.
ENDED = """
SELECT created_at, parent_id, ordinal, run FROM delivery
WHERE (status, key_id, created_at, parent_id, ordinal, run)
      > (%(status)s, %(key)s, %(created_at)s, %(parent_id)s, %(ordinal)s, %(run)s)
  AND (status, key_id, created_at) < (%(status)s, %(key)s, %(until)s)
  AND status <> 'pending'
  AND coalesce(delivered_at < %(began)s, true)
ORDER BY status, key_id, created_at, parent_id, ordinal, run
LIMIT %(most)s
"""


class Place(NamedTuple):
    """A delivery's place among those of a key and a status, in the order they came."""

    created_at: datetime
    parent_id: UUID
    ordinal: int
    run: int


def first(since: datetime) -> Place:
    """Before all that came at this moment or later."""
    return Place(since, UUID(int=0), -1, 0)


class Range(NamedTuple):
    """Which deliveries of a key are to be sent again: created from `since` on, before `until`.

    And only those that were delivered, if they were, before the replay `began`.
    """

    key_id: int
    status: Status
    since: datetime
    until: datetime
    began: datetime


class Replayed(NamedTuple):
    """How many of a batch are sent again, and after which there may be more; None: no more."""

    deliveries: int
    after: Place | None


async def replay_range(
    connection: AsyncConnection, wanted: Range, *, after: Place | None = None, most: int = MOST
) -> Replayed:
    """Have a batch of these deliveries sent again, the oldest after this place. In a transaction.

    A range of several statuses is gone through with pending first.
    """
    await connection.execute(plans.PROBE_FIRST)
    place = after or first(wanted.since)
    named = {
        **place._asdict(),
        "key": wanted.key_id,
        "status": wanted.status,
        "until": wanted.until,
        "began": wanted.began,
        "most": most,
    }
    statement = PENDING if wanted.status == "pending" else ENDED
    cursor = connection.cursor(row_factory=class_row(Place))
    places = await (await cursor.execute(statement, named)).fetchall()
    if not places:
        return Replayed(0, None)
    events = [EventId(place.parent_id, place.ordinal, place.run) for place in places]
    return Replayed(await _replay(connection, wanted.key_id, events, wanted.status), places[-1])
