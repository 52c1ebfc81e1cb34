"""What is recounted while everything is under way."""

import asyncio
from typing import Any

from psycopg import AsyncConnection, IsolationLevel

from orchestrator.store import counters

PAST_A_LIMIT = """
WITH sync AS (
  SELECT u.key_id, u.sync_limit, u.detached,
         (SELECT count(*) FROM sync_wait w WHERE w.key_id = u.key_id) AS callers,
         (SELECT count(*) FROM parent p WHERE p.key_id = u.key_id AND p.mode <> 'async'
                                          AND p.finished_at IS NULL) AS unfinished
  FROM usage u)
SELECT 'depth', key_id, depth, capacity FROM usage WHERE depth > capacity
UNION ALL SELECT 'sync', key_id, callers + greatest(0, detached - sync_limit), sync_limit FROM sync
          WHERE callers + greatest(0, detached - sync_limit) > sync_limit
UNION ALL SELECT 'unfinished', key_id, unfinished, 2 * sync_limit FROM sync
          WHERE unfinished > 2 * sync_limit
UNION ALL SELECT 'key', key_id, processing, concurrency + sync_limit FROM usage
          WHERE processing > concurrency + sync_limit
UNION ALL SELECT 'key, async', key_id, processing - sync_processing, concurrency FROM usage
          WHERE processing - sync_processing > concurrency
UNION ALL SELECT 'lane', l.id, x.processing, l.concurrency FROM lane l
          JOIN lane_load x ON x.lane_id = l.id WHERE x.processing > l.concurrency
UNION ALL SELECT 'lane, async', l.id, x.processing - x.sync_processing, l.concurrency FROM lane l
          JOIN lane_load x ON x.lane_id = l.id
          WHERE x.processing - x.sync_processing > l.concurrency - (l.concurrency >= 4)::int
"""
# What runs in a lane whose breaker has not closed started before it opened, but for one probe.
OUT_OF_PLACE = """
SELECT 'probes', id, n, 1
FROM lane l
CROSS JOIN LATERAL (
  SELECT count(*)::int AS n FROM child
  WHERE lane_id = l.id AND state = 'processing' AND claimed_at >= l.open_until) AS started
WHERE l.open_until <= now() AND n > 1
UNION ALL SELECT 'adaptive', id, adaptive, good FROM lane
          WHERE adaptive NOT BETWEEN 1 AND concurrency - 1 OR good NOT BETWEEN 0 AND adaptive - 1
UNION ALL SELECT 'tokens', l.id, floor(tokens)::int, floor(rate)::int
          FROM lane l JOIN lane_pace p ON p.lane_id = l.id
          WHERE tokens < -1e-6 OR tokens > greatest(1, rate)
"""
GRANTED = (300, 1_000_000)
"""Credits that keys are given, once."""
NOT_CONSERVED = """
SELECT 'credits', key_id, credits, held, charged FROM usage
WHERE credits + held + charged <> ALL(%(granted)s)
"""
FORGOTTEN = """
SELECT id, key_id FROM parent p
WHERE mode = 'sync' AND finished_at IS NULL
  AND NOT EXISTS (SELECT FROM sync_wait w WHERE w.parent_id = p.id)
"""
# Cells of a parent that waits and are to run again still tell of the run before; those of one that
# ended while it waited may have no rows: it says what they ended as.
NOT_ADDING_UP = """
SELECT p.id, p.state, p.total, p.done, p.failed, p.canceled, p.expired, c.*
FROM (SELECT *, state IN ('queued', 'delayed') AS waits FROM parent) AS p
LEFT JOIN LATERAL (
  SELECT count(*) AS n, count(*) FILTER (WHERE finished_at IS NOT NULL) AS ended,
         count(*) FILTER (WHERE state = 'failed') AS failed,
         count(*) FILTER (WHERE state = 'canceled') AS canceled,
         count(*) FILTER (WHERE state = 'expired') AS expired,
         count(*) FILTER (WHERE state IN ('queued', 'retrying') AND (stop IS NOT NULL
                                                                     OR p.stop IS NOT NULL))
           AS startable, sum(charged) AS charged
  FROM child
  WHERE parent_id = p.id AND NOT (p.waits AND ordinal = ANY(coalesce(p.todo, '{}')))) AS c ON true
CROSS JOIN LATERAL (
  SELECT CASE WHEN p.finished_at IS NULL THEN 0 ELSE p.total - c.n END AS missing) AS m
WHERE c.startable > 0 OR p.charged <> coalesce(c.charged, 0)
   OR CASE WHEN p.waits THEN c.n <> p.total - coalesce(cardinality(p.todo), p.total)
           WHEN p.state = 'processing' THEN c.n <> p.total
           ELSE m.missing > 0 AND p.stop IS NULL END
   OR c.ended + m.missing <> p.done OR c.failed <> p.failed
   OR c.canceled + m.missing * coalesce((p.stop = 'canceled')::int, 0) <> p.canceled
   OR c.expired + m.missing * coalesce((p.stop = 'expired')::int, 0) <> p.expired
   OR (p.finished_at IS NOT NULL) <> (p.done = p.total)
   OR p.state <> rolled_up(CASE WHEN p.waits THEN p.state ELSE 'processing' END, p.total, p.done,
                           p.failed, p.canceled, p.expired, p.finish,
                           p.cancel_requested_at IS NOT NULL)
"""


async def not_conserved(connection: AsyncConnection) -> list[Any]:
    """Keys whose free, held and charged credits are together not what they were given."""
    named = {"granted": list(GRANTED)}
    return await (await connection.execute(NOT_CONSERVED, named)).fetchall()


async def audit(url: str, faults: list[Any], done: asyncio.Event) -> int:
    """Recount everything in snapshots; how many."""
    audits = 0
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        while not done.is_set():
            async with connection.transaction():
                faults += await counters.differences(connection)
                for check in (PAST_A_LIMIT, OUT_OF_PLACE, NOT_ADDING_UP, FORGOTTEN):
                    faults += await (await connection.execute(check)).fetchall()
                faults += await not_conserved(connection)
            audits += 1
            await asyncio.sleep(0.02)
    return audits
