"""Rescuing: the children of dead nodes are queued again, their attempt given back."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec
from psycopg import AsyncConnection, Connection

from orchestrator import notify
from orchestrator.domain.envelope import OVERDUE
from orchestrator.store import deliveries, plans, waits
from orchestrator.store.children.outcomes import Fence
from orchestrator.store.nodes import DEAD_AFTER_SECONDS

SUSPECT_AFTER = 2
"""A child lost with its node this often is run in a process of its own: it may be what kills them.

What becomes of it there is told by its node. So those lost for nothing are never failed here.
"""
LOST_LIMIT = 10
"""A child lost this often fails `WORKER_LOST` all the same: its nodes die however it is run."""

BLAME = """
UPDATE child SET lost = greatest(lost, %(short)s)
WHERE parent_id = %(parent_id)s AND ordinal = %(ordinal)s AND claim = %(claim)s
"""


def blame(connection: Connection, fence: Fence) -> None:
    """Its node is about to end because of this child: once it is lost it is a suspect.

    For a thread, with a connection of its own.
    """
    connection.execute(BLAME, {**fence._asdict(), "short": SUSPECT_AFTER - 1})


RESCUE = """
WITH dead AS MATERIALIZED (
  SELECT DISTINCT c.node FROM child c
  WHERE c.state = 'processing' AND NOT EXISTS (
    SELECT FROM node n
    WHERE n.id = c.node AND n.heartbeat_at > now() - %(dead)s * interval '1 second')
), orphan AS MATERIALIZED (
  SELECT parent_id, ordinal FROM child
  WHERE state = 'processing' AND node = ANY(ARRAY(SELECT node FROM dead))
  ORDER BY 1, 2
  LIMIT %(most)s
), locked AS MATERIALIZED (
  SELECT id FROM parent WHERE id = ANY(ARRAY(SELECT parent_id FROM orphan))
  ORDER BY id FOR NO KEY UPDATE
), rescued AS (
  UPDATE child c
  SET state = coalesce(c.stop, CASE WHEN c.lost + 1 < %(limit)s THEN 'queued' ELSE 'failed' END),
      claim = NULL, node = NULL, lost = c.lost + 1,
      attempt = c.attempt - (c.stop IS NULL AND c.lost + 1 < %(limit)s)::int,
      error = CASE
        WHEN c.stop = 'expired' THEN %(overdue)s::json
        WHEN c.stop IS NULL AND c.lost + 1 >= %(limit)s THEN json_build_object(
          'code', 'WORKER_LOST', 'retryable', true,
          'message', 'The worker processes running this cell died again and again.') END,
      response_code = CASE WHEN c.lost + 1 < %(limit)s THEN c.response_code END,
      finished_at = CASE WHEN c.stop IS NOT NULL OR c.lost + 1 >= %(limit)s THEN now() END,
      log = CASE WHEN c.stop IS NOT NULL OR c.lost + 1 >= %(limit)s THEN c.log
        ELSE array_append(c.log, json_build_object(
          'number', c.attempt, 'status', 'lost', 'code', 'WORKER_LOST',
          'started_at', c.claimed_at, 'ended_at', now())) END
  FROM orphan o, (SELECT count(*) FROM locked) AS held
  WHERE c.parent_id = o.parent_id AND c.ordinal = o.ordinal
    AND lower(c.state) = 'processing' AND c.node = ANY(ARRAY(SELECT node FROM dead))
  RETURNING c.parent_id, c.state
), ends AS (
  SELECT parent_id, count(*)::int AS n, count(*) FILTER (WHERE state = 'failed')::int AS failed,
         count(*) FILTER (WHERE state = 'canceled')::int AS canceled,
         count(*) FILTER (WHERE state = 'expired')::int AS expired
  FROM rescued WHERE state <> 'queued' GROUP BY 1
), rolled AS (
  UPDATE parent p
  SET done = p.done + e.n, failed = p.failed + e.failed, canceled = p.canceled + e.canceled,
      expired = p.expired + e.expired,
      state = rolled_up(p.state, p.total, p.done + e.n, p.failed + e.failed,
                        p.canceled + e.canceled, p.expired + e.expired, p.finish,
                        p.cancel_requested_at IS NOT NULL),
      finished_at = CASE WHEN p.done + e.n = p.total THEN now() END
  FROM ends e
  WHERE p.id = e.parent_id
  RETURNING p.id, p.done = p.total AS ended
)
SELECT (SELECT count(*) FROM rescued WHERE state = 'queued')::int,
       (SELECT count(*) FROM rescued WHERE state = 'failed')::int,
       ARRAY(SELECT id FROM rolled WHERE ended),
       (SELECT count(*) FROM rescued WHERE state IN ('canceled', 'expired'))::int,
       ARRAY(SELECT parent_id FROM ends)
"""


class Rescued(NamedTuple):
    """Children queued again, given up as `WORKER_LOST`, ended as they were told to.

    And the parents that ended by those.
    """

    queued: int
    failed: int
    parents: Sequence[UUID]
    stopped: int = 0


async def rescue(connection: AsyncConnection, *, most: int = 300) -> Rescued:
    """Take back up to `most` children of nodes that are dead as of this statement.

    Must run inside a transaction.
    """
    await connection.execute(plans.PROBE)
    row = await (
        await connection.execute(
            RESCUE,
            {
                "dead": DEAD_AFTER_SECONDS,
                "most": most,
                "limit": LOST_LIMIT,
                "overdue": msgspec.json.encode(OVERDUE).decode(),
            },
        )
    ).fetchone()
    assert row  # noqa: S101 - it has no FROM
    rescued = Rescued(*row[:4])
    await deliveries.tell(connection, row[4])
    if rescued.parents:
        await waits.tell(connection, rescued.parents)
    if rescued.queued:
        await connection.execute(notify.NOTIFY, {"channel": notify.QUEUED})
    return rescued
