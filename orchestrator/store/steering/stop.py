"""Telling parents to stop: what has not started ends at once, what runs ends when it is settled."""

from collections.abc import Sequence
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from orchestrator import notify
from orchestrator.domain.envelope import OVERDUE
from orchestrator.store import deliveries, plans, waits

# One UPDATE with a CASE, never one a state: a child that is claimed meanwhile would be met by none.
STOP_WORKING = """
WITH stopped AS (
  UPDATE child c
  SET state = CASE WHEN c.state = 'processing' THEN c.state ELSE coalesce(c.stop, %(end)s) END,
      stop = coalesce(c.stop, %(end)s), run_at = NULL,
      cancel_requested_at = CASE WHEN %(asked)s THEN coalesce(c.cancel_requested_at, now())
                                 ELSE c.cancel_requested_at END,
      error = CASE WHEN c.state <> 'processing' AND coalesce(c.stop, %(end)s) = 'expired'
                   THEN %(overdue)s::json END,
      finished_at = CASE WHEN c.state <> 'processing' THEN now() END
  WHERE c.parent_id = ANY(%(parents)s::uuid[]) AND c.finished_at IS NULL
    AND c.ordinal = coalesce(%(ordinal)s::int2, c.ordinal)
  RETURNING c.parent_id, c.state
), ends AS MATERIALIZED (
  SELECT asked.id AS parent_id, count(s.state) > 0 AS met,
         count(*) FILTER (WHERE s.state <> 'processing')::int AS n,
         count(*) FILTER (WHERE s.state = 'canceled')::int AS canceled,
         count(*) FILTER (WHERE s.state = 'expired')::int AS expired
  FROM unnest(%(parents)s::uuid[]) AS asked (id)
  LEFT JOIN stopped s ON s.parent_id = asked.id
  GROUP BY 1
), rolled AS (
  UPDATE parent p
  SET done = p.done + e.n, canceled = p.canceled + e.canceled, expired = p.expired + e.expired,
      stop = CASE WHEN %(ordinal)s::int2 IS NULL THEN coalesce(p.stop, %(end)s) ELSE p.stop END,
      cancel_requested_at = CASE WHEN %(asked)s AND %(ordinal)s::int2 IS NULL
                                 THEN coalesce(p.cancel_requested_at, now())
                                 ELSE p.cancel_requested_at END,
      state = rolled_up(p.state, p.total, p.done + e.n, p.failed, p.canceled + e.canceled,
                        p.expired + e.expired, p.finish,
                        p.cancel_requested_at IS NOT NULL
                        OR (%(asked)s AND %(ordinal)s::int2 IS NULL)),
      finished_at = CASE WHEN p.done + e.n = p.total THEN now() END
  FROM ends e
  WHERE p.id = e.parent_id AND p.finished_at IS NULL
  RETURNING p.id, e.met, p.finished_at IS NOT NULL AS ended
)
SELECT count(*) FILTER (WHERE met)::int, coalesce(array_agg(id) FILTER (WHERE ended), '{}'),
       CASE WHEN EXISTS (SELECT FROM stopped WHERE state = 'processing')
            THEN pg_notify(%(stopped)s, '') END
FROM rolled
"""

# A parent that waits has rows only of cells that ended: in a run before, or canceled by themselves.
# Its other cells need none to end with it; those it was to run again tell of this run from now on.
STOP_WAITING = """
WITH ended AS (
  UPDATE parent p
  SET done = p.total, stop = %(end)s,
      canceled = p.canceled + CASE WHEN %(end)s = 'canceled' THEN p.total - p.done ELSE 0 END,
      expired = p.expired + CASE WHEN %(end)s = 'expired' THEN p.total - p.done ELSE 0 END,
      cancel_requested_at = CASE WHEN %(asked)s THEN now() ELSE p.cancel_requested_at END,
      state = rolled_up(
        p.state, p.total, p.total, p.failed,
        p.canceled + CASE WHEN %(end)s = 'canceled' THEN p.total - p.done ELSE 0 END,
        p.expired + CASE WHEN %(end)s = 'expired' THEN p.total - p.done ELSE 0 END, p.finish,
        p.cancel_requested_at IS NOT NULL OR %(asked)s),
      finished_at = now()
  WHERE p.id = ANY(%(parents)s::uuid[]) AND p.finished_at IS NULL
  RETURNING p.id, p.todo
), again AS (
  UPDATE child c
  SET state = %(end)s, stop = %(end)s, result = NULL, log = NULL, attempt = 0, lost = 0,
      charged = 0, response_code = NULL, started_at = NULL, claimed_at = NULL, finished_at = now(),
      cancel_requested_at = CASE WHEN %(asked)s THEN now() END,
      error = CASE WHEN %(end)s = 'expired' THEN %(overdue)s::json END
  FROM ended e
  WHERE c.parent_id = e.id AND c.ordinal = ANY(e.todo)
)
SELECT count(*)::int, coalesce(array_agg(id), '{}'), NULL FROM ended
"""


class Told(NamedTuple):
    """How many parents had something to stop, and those that ended by it."""

    parents: int
    ended: Sequence[UUID]


async def stop(
    connection: AsyncConnection,
    parents: Sequence[UUID],
    end: Literal["canceled", "expired"],
    *,
    waiting: bool,
    asked: bool = False,
    ordinal: int | None = None,
) -> Told:
    """Have all unfinished cells of these live parents end so, or the one with this ordinal.

    The parents are of one key, locked in a statement before, and either all in the admission queue
    (`waiting`) or none; `ordinal` goes with one that is not. `asked`: somebody asked for it.
    Callers who wait for a parent that ends are told.
    """
    if not parents:
        return Told(0, ())
    await connection.execute(plans.PROBE)
    cursor = await connection.execute(
        STOP_WAITING if waiting else STOP_WORKING,
        {
            "parents": list(parents),
            "end": end,
            "asked": asked,
            "ordinal": ordinal,
            "overdue": msgspec.json.encode(OVERDUE).decode(),
            "stopped": notify.STOPPED,
        },
    )
    row = await cursor.fetchone()
    told = Told(*row[:2]) if row else Told(0, ())
    await deliveries.tell(connection, parents, cells=not waiting)
    if told.ended:
        await waits.tell(connection, told.ended)
    return told
