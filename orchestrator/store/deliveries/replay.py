"""Replaying: a delivery is sent again, its event and its schedule from the beginning."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from orchestrator import notify
from orchestrator.domain.ids import EventId
from orchestrator.store import plans
from orchestrator.store.deliveries.record import Status

MOST = 1_000
"""Deliveries replayed in one transaction of many."""

REPLAY = """
UPDATE delivery
SET status = 'pending', again = false, attempts = 0, claim = NULL, delivered_at = NULL,
    due_at = now()
WHERE parent_id = %(parent)s AND run = %(run)s AND ordinal = %(ordinal)s AND key_id = %(key)s
"""


async def replay(connection: AsyncConnection, *, key_id: int, event: EventId) -> bool:
    """Have this delivery of the key sent again; False: it has none such. In a transaction.

    Whoever attempts it at the moment comes too late to record it.
    """
    cursor = await connection.execute(REPLAY, {**event._asdict(), "key": key_id})
    if cursor.rowcount:
        await connection.execute(notify.NOTIFY, {"channel": notify.TOLD})
    return bool(cursor.rowcount)


# In the order of their index, so that a batch goes on where the one before ended. What came home
# since the call began is not sent a third time.
RANGE_PENDING = """
WITH found AS MATERIALIZED (
  SELECT parent_id, run, ordinal, created_at FROM delivery
  WHERE (key_id, created_at, parent_id, ordinal, run)
        > (%(key)s, %(created_at)s, %(parent_id)s, %(ordinal)s, %(run)s)
    AND (key_id, created_at) < (%(key)s, %(until)s)
    AND status = 'pending'
  ORDER BY key_id, created_at, parent_id, ordinal, run
  LIMIT %(most)s
), locked AS MATERIALIZED (
  SELECT d.parent_id, d.run, d.ordinal
  FROM found f
  JOIN delivery d ON d.parent_id = f.parent_id AND d.run = f.run AND d.ordinal = f.ordinal
  ORDER BY d.parent_id, d.run, d.ordinal
  FOR NO KEY UPDATE OF d
), replayed AS (
  UPDATE delivery d
  SET status = 'pending', again = false, attempts = 0, claim = NULL, delivered_at = NULL,
      due_at = now()
  FROM locked l
  WHERE d.parent_id = l.parent_id AND d.run = l.run AND d.ordinal = l.ordinal
    AND lower(d.status) = %(status)s
  RETURNING 1
), last AS (
  SELECT created_at, parent_id, ordinal, run, row_number() OVER () AS n FROM found
)
SELECT (SELECT count(*) FROM replayed)::int, created_at, parent_id, ordinal, run
FROM last
WHERE n = (SELECT count(*) FROM found)
"""

RANGE_ENDED = """
WITH found AS MATERIALIZED (
  SELECT parent_id, run, ordinal, created_at FROM delivery
  WHERE (status, key_id, created_at, parent_id, ordinal, run)
        > (%(status)s, %(key)s, %(created_at)s, %(parent_id)s, %(ordinal)s, %(run)s)
    AND (status, key_id, created_at) < (%(status)s, %(key)s, %(until)s)
    AND status <> 'pending'
    AND coalesce(delivered_at < %(began)s, true)
  ORDER BY status, key_id, created_at, parent_id, ordinal, run
  LIMIT %(most)s
), locked AS MATERIALIZED (
  SELECT d.parent_id, d.run, d.ordinal
  FROM found f
  JOIN delivery d ON d.parent_id = f.parent_id AND d.run = f.run AND d.ordinal = f.ordinal
  ORDER BY d.parent_id, d.run, d.ordinal
  FOR NO KEY UPDATE OF d
), replayed AS (
  UPDATE delivery d
  SET status = 'pending', again = false, attempts = 0, claim = NULL, delivered_at = NULL,
      due_at = now()
  FROM locked l
  WHERE d.parent_id = l.parent_id AND d.run = l.run AND d.ordinal = l.ordinal
    AND lower(d.status) = %(status)s
  RETURNING 1
), last AS (
  SELECT created_at, parent_id, ordinal, run, row_number() OVER () AS n FROM found
)
SELECT (SELECT count(*) FROM replayed)::int, created_at, parent_id, ordinal, run
FROM last
WHERE n = (SELECT count(*) FROM found)
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
    statement = RANGE_PENDING if wanted.status == "pending" else RANGE_ENDED
    row = await (await connection.execute(statement, named)).fetchone()
    if row is None:
        return Replayed(0, None)
    if row[0]:
        await connection.execute(notify.NOTIFY, {"channel": notify.TOLD})
    return Replayed(row[0], Place(*row[1:]))
