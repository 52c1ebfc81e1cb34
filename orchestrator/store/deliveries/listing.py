"""Lists of deliveries, newest first, at a cost that does not depend on how many there are."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import kwargs_row

from orchestrator.domain import plan as plans_of
from orchestrator.domain.ids import EventId
from orchestrator.domain.plan import Plan
from orchestrator.store import plans
from orchestrator.store.deliveries.ranges import Place, first
from orchestrator.store.deliveries.record import Status

NEWEST = Place(datetime.fromisoformat("9999-01-01T00:00:00Z"), UUID(int=0), 0, 0)
"""After all there are."""
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00Z")


class DeliveryRow(NamedTuple):
    """A delivery as stored, with the plan of its parent. `due_at` is None while it is attempted."""

    parent_id: UUID
    run: int
    ordinal: int
    state: str
    status: Status
    attempts: int
    due_at: datetime | None
    last_code: int | None
    created_at: datetime
    delivered_at: datetime | None
    plan: Plan

    @property
    def place(self) -> Place:
        """Its place in a list."""
        return Place(self.created_at, self.parent_id, self.ordinal, self.run)


class Wanted(NamedTuple):
    """Which deliveries of a key: of these statuses, created from `since` on, before `until`.

    Those that come before `before` in time.
    """

    key_id: int
    statuses: Sequence[Status]
    since: datetime = EPOCH
    until: datetime | None = None
    before: Place = NEWEST


# Of each status so many, which are put in order then: indexes alone give order and bounds. Those
# that are pending have one of their own.
PENDING = """
SELECT d.parent_id, d.run, d.ordinal, d.state, d.status, d.attempts,
       CASE WHEN d.claim IS NULL THEN d.due_at END AS due_at,
       d.last_code, d.created_at, d.delivered_at, p.payload::text AS payload
FROM (
  SELECT * FROM delivery
  WHERE (key_id, created_at, parent_id, ordinal, run)
        < (%(key)s::int, %(created_at)s::timestamptz, %(parent_id)s::uuid,
           %(ordinal)s::int2, %(run)s::int)
    AND (key_id, created_at) >= (%(key)s::int, %(since)s::timestamptz)
    AND status = 'pending'
  ORDER BY key_id DESC, created_at DESC, parent_id DESC, ordinal DESC, run DESC
  LIMIT %(most)s) AS d
JOIN parent p ON p.id = d.parent_id
ORDER BY d.created_at DESC, d.parent_id DESC, d.ordinal DESC, d.run DESC
"""

ENDED = """
SELECT d.parent_id, d.run, d.ordinal, d.state, d.status, d.attempts, NULL AS due_at,
       d.last_code, d.created_at, d.delivered_at, p.payload::text AS payload
FROM unnest(%(statuses)s::text[]) AS wanted
CROSS JOIN LATERAL (
  SELECT * FROM delivery
  WHERE (status, key_id, created_at, parent_id, ordinal, run)
        < (wanted, %(key)s::int, %(created_at)s::timestamptz, %(parent_id)s::uuid,
           %(ordinal)s::int2, %(run)s::int)
    AND (status, key_id, created_at) >= (wanted, %(key)s::int, %(since)s::timestamptz)
    AND status <> 'pending'
  ORDER BY status DESC, key_id DESC, created_at DESC, parent_id DESC, ordinal DESC, run DESC
  LIMIT %(most)s) AS d
JOIN parent p ON p.id = d.parent_id
ORDER BY d.created_at DESC, d.parent_id DESC, d.ordinal DESC, d.run DESC
LIMIT %(most)s
"""

ONE = """
SELECT d.parent_id, d.run, d.ordinal, d.state, d.status, d.attempts,
       CASE WHEN d.status = 'pending' AND d.claim IS NULL THEN d.due_at END AS due_at,
       d.last_code, d.created_at, d.delivered_at, p.payload::text AS payload
FROM delivery d
JOIN parent p ON p.id = d.parent_id
WHERE d.parent_id = %(parent)s AND d.run = %(run)s AND d.ordinal = %(ordinal)s
  AND d.key_id = %(key)s
"""


def _row(*, payload: str, **columns: object) -> DeliveryRow:
    return DeliveryRow(plan=plans_of.decode(payload), **columns)  # type: ignore[arg-type]


async def page(connection: AsyncConnection, wanted: Wanted, *, limit: int) -> list[DeliveryRow]:
    """At most `limit` of these deliveries, newest first, in a transaction of the caller's."""
    await connection.execute(plans.PROBE_FIRST)
    before = min(wanted.before, first(wanted.until)) if wanted.until else wanted.before
    ended = [status for status in wanted.statuses if status != "pending"]
    named = {
        **before._asdict(),
        "key": wanted.key_id,
        "statuses": ended,
        "since": wanted.since,
        "most": limit,
    }
    found: list[DeliveryRow] = []
    for statement in [PENDING] * ("pending" in wanted.statuses) + [ENDED] * bool(ended):
        cursor = connection.cursor(row_factory=kwargs_row(_row))
        found += await (await cursor.execute(statement, named)).fetchall()
    return sorted(found, key=lambda row: row.place, reverse=True)[:limit]


async def one(connection: AsyncConnection, *, key_id: int, event: EventId) -> DeliveryRow | None:
    """The delivery of this event of the key, or None."""
    cursor = connection.cursor(row_factory=kwargs_row(_row))
    return await (await cursor.execute(ONE, {**event._asdict(), "key": key_id})).fetchone()
