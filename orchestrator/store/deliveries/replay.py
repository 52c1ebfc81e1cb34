"""Replaying: a delivery is sent again, its event and its schedule from the beginning."""

from collections.abc import Sequence

from psycopg import AsyncConnection

from orchestrator import notify
from orchestrator.domain.ids import EventId
from orchestrator.store import plans
from orchestrator.store.deliveries.record import Status

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
    return await again(connection, key_id, [event]) > 0


async def again(
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
