"""Replays of a whole time: stored at once, carried out in batches by whoever has time."""

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
from orchestrator.store.deliveries.replay import again

MOST = 500
"""Deliveries looked at in one transaction of many."""


class Range(NamedTuple):
    """Which deliveries of a key are to be sent again: of these statuses, in this order.

    Created from `since` on, before `until`.
    """

    key_id: int
    statuses: Sequence[Status]
    since: datetime
    until: datetime


# Those that are pending have an index of their own; of the others one status is a part of another.
MATCHED = """
SELECT (SELECT count(*) FROM delivery
        WHERE key_id = %(key)s AND created_at >= %(since)s AND created_at < %(until)s
          AND status = 'pending' AND 'pending' = ANY(%(statuses)s))
     + (SELECT coalesce(sum(n), 0)::int8
        FROM unnest(%(statuses)s) AS asked (status)
        CROSS JOIN LATERAL (
          SELECT count(*) AS n FROM delivery
          WHERE (status, key_id) = (asked.status, %(key)s) AND status <> 'pending'
            AND created_at >= %(since)s AND created_at < %(until)s) AS counted)
"""

REQUEST = """
INSERT INTO delivery_replay (key_id, statuses, since, until)
VALUES (%(key)s, %(statuses)s, %(since)s, least(%(until)s, now()))
"""


async def request(connection: AsyncConnection, wanted: Range) -> int:
    """Have those there are now sent again; how many.

    Inside a transaction; once that is committed it will be done, whatever dies.
    """
    named = {
        "key": wanted.key_id,
        "statuses": list(wanted.statuses),
        "since": wanted.since,
        "until": wanted.until,
    }
    await connection.execute(plans.PROBE_FIRST)
    row = await (await connection.execute(MATCHED, named)).fetchone()
    matched = int(row[0]) if row else 0
    if matched:
        await connection.execute(REQUEST, named)
        await connection.execute(notify.NOTIFY, {"channel": notify.ACTED})
    return matched


class Place(NamedTuple):
    """A delivery's place among those of a key and a status, in the order they came."""

    created_at: datetime
    parent_id: UUID
    ordinal: int
    run: int


def first(since: datetime) -> Place:
    """Before all that came at this moment or later."""
    return Place(since, UUID(int=0), -1, 0)


class _Asked(NamedTuple):
    """A stored request, and how far it has come."""

    id: int
    key_id: int
    statuses: list[Status]
    since: datetime
    until: datetime
    began: datetime
    reached_at: datetime | None
    reached_parent: UUID | None
    reached_ordinal: int | None
    reached_run: int | None

    @property
    def place(self) -> Place:
        """After which to go on."""
        place = (self.reached_at, self.reached_parent, self.reached_ordinal, self.reached_run)
        return first(self.since) if None in place else Place(*place)  # type: ignore[arg-type]


TAKE = """
SELECT id, key_id, statuses, since, until, created_at AS began,
       reached_at, reached_parent, reached_ordinal, reached_run
FROM delivery_replay
ORDER BY turn_at, id
LIMIT 1
FOR UPDATE SKIP LOCKED
"""

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

# What came home since it was asked for is not sent a third time.
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

GO_ON = """
UPDATE delivery_replay
SET turn_at = now(), statuses = %(statuses)s, reached_at = %(created_at)s,
    reached_parent = %(parent_id)s, reached_ordinal = %(ordinal)s, reached_run = %(run)s
WHERE id = %(id)s
"""

END = """
DELETE FROM delivery_replay WHERE id = %(id)s
"""
NOWHERE = dict.fromkeys(Place._fields)


async def go_on(connection: AsyncConnection, *, most: int = MOST) -> bool:
    """Carry on with the request whose turn it is, by one batch; False: there is none.

    Inside a transaction.
    """
    await connection.execute(plans.IN_ORDER)
    taken = connection.cursor(row_factory=class_row(_Asked))
    asked = await (await taken.execute(TAKE)).fetchone()
    if asked is None:
        return False
    await connection.execute(plans.PROBE_FIRST)
    status, *others = asked.statuses
    found = connection.cursor(row_factory=class_row(Place))
    named = {
        **asked.place._asdict(),
        "key": asked.key_id,
        "status": status,
        "until": asked.until,
        "began": asked.began,
        "most": most,
    }
    places = await (
        await found.execute(PENDING if status == "pending" else ENDED, named)
    ).fetchall()
    events = [EventId(place.parent_id, place.ordinal, place.run) for place in places]
    await again(connection, asked.key_id, events, status)
    if len(places) == most:
        reached = {"statuses": asked.statuses, **places[-1]._asdict()}
    elif others:
        reached = {"statuses": others, **NOWHERE}
    else:
        await connection.execute(END, {"id": asked.id})
        return True
    await connection.execute(GO_ON, {"id": asked.id, **reached})
    return True
