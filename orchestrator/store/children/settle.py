"""Settling: outcomes of many children in one durable statement, fenced and rolled up."""

from collections.abc import Sequence

import msgspec
from psycopg import AsyncConnection

from orchestrator import notify
from orchestrator.domain import lanes
from orchestrator.domain.envelope import OVERDUE
from orchestrator.store import plans, waits
from orchestrator.store.children import outcome_rows
from orchestrator.store.children.outcomes import GivenBack, Outcome, Settled

FIXED = {
    "strikes": lanes.STRIKES,
    "pause": lanes.PAUSE_SECONDS,
    "longest": lanes.LONGEST_PAUSE_SECONDS,
    "overdue": msgspec.json.encode(OVERDUE).decode(),
    "stopped": notify.STOPPED,
    "told": notify.TOLD,
}

# Arrays go in binary (%b): as text each quote of each capture would be escaped in Python, half of
# a worker's time. Parents first, sorted; the fence alone finds the child (with the state in it
# the planner would walk the index of all running children); the roll-up adds to what the row says
# now. It never recounts siblings.
#
# A child that is to stop (`stop`) is not tried again: whatever takes it out of `processing` without
# an end of its own ends it so. A parent that ends early (`finish`) is `reached` by the completions
# among these outcomes whose fence holds, seen under their lock; in the same statement its other
# children are canceled, or told to stop.
#
# What ends is told to its parent's webhook, if it has one: in the outbox by the same statement,
# from what the roll-up of its parent was made of. Whoever has none pays for nothing but two arrays.
#
# Lanes are locked by id, after parents and children and before any counter, and only when there is
# something to write: a failure or an end to failures, an upstream that throttles or no longer does.
# `domain.lanes.after` says the same in Python, and what for. Of a call that several cells shared
# one of them tells.
SETTLE = """
WITH outcome AS MATERIALIZED (
  SELECT * FROM unnest(
    %(parents)b::uuid[], %(ordinals)b::int2[], %(claims)b::int8[], %(states)b::text[],
    %(captures)b::json[], %(errors)b::json[], %(codes)b::int2[], %(delays)b::float8[],
    %(charges)b::int4[], %(not_befores)b::float8[], %(shareds)b::bool[]
  ) AS t (parent_id, ordinal, claim, state, capture, error, code, delay, charge, not_before, shared)
), locked AS MATERIALIZED (
  SELECT id, finish - (done - failed - canceled - expired) AS wanted
  FROM parent WHERE id = ANY(%(parents)b::uuid[]) ORDER BY id FOR NO KEY UPDATE
), counted AS MATERIALIZED (
  SELECT c.parent_id
  FROM (SELECT id FROM locked WHERE wanted IS NOT NULL) AS l
  JOIN outcome o ON o.parent_id = l.id AND o.state = 'completed'
  JOIN child c ON c.parent_id = o.parent_id AND c.ordinal = o.ordinal AND c.claim = o.claim
  ORDER BY c.parent_id, c.ordinal
  FOR NO KEY UPDATE OF c
), reached AS MATERIALIZED (
  SELECT id, 'canceled' AS stop FROM locked
  WHERE wanted <= (SELECT count(*) FROM counted WHERE parent_id = id)
), settled AS (
  UPDATE child c
  SET state = CASE WHEN o.state IN ('completed', 'failed') THEN o.state
                   ELSE coalesce(c.stop, o.stop, o.state) END,
      claim = NULL, node = NULL, result = o.capture, charged = o.charge, response_code = o.code,
      attempt = c.attempt - (o.state = 'queued' AND coalesce(c.stop, o.stop) IS NULL)::int,
      error = CASE WHEN o.state = 'failed' THEN o.error
                   WHEN o.state <> 'completed' AND c.stop = 'expired' THEN %(overdue)s::json END,
      run_at = CASE WHEN o.state = 'retrying' AND coalesce(c.stop, o.stop) IS NULL
                    THEN now() + o.delay * interval '1 second' END,
      finished_at = CASE WHEN o.state IN ('completed', 'failed')
                           OR coalesce(c.stop, o.stop) IS NOT NULL THEN now() END,
      log = CASE WHEN o.state = 'retrying' AND coalesce(c.stop, o.stop) IS NULL
                 THEN array_append(c.log, json_build_object(
          'number', c.attempt, 'status', 'failed', 'code', o.error ->> 'code',
          'response_code', o.code, 'started_at', c.claimed_at, 'ended_at', now()))
        ELSE c.log END
  FROM (SELECT outcome.*, reached.stop
        FROM outcome LEFT JOIN reached ON reached.id = outcome.parent_id) AS o,
       (SELECT count(*) FROM locked) AS held
  WHERE c.parent_id = o.parent_id AND c.ordinal = o.ordinal AND c.claim = o.claim
  RETURNING c.parent_id, c.ordinal, c.state, c.lane_id, c.charged, o.shared,
            o.code IS DISTINCT FROM 429
              AND (o.state = 'retrying'
                   OR (o.state = 'failed' AND o.error ->> 'retryable' = 'true')) AS broken,
            CASE WHEN o.state IN ('retrying', 'failed') AND o.code IN (429, 503)
                 THEN c.claimed_at END AS throttled_at,
            now() + nullif(o.not_before, 0) * interval '1 second' AS not_before
), stopped AS (
  UPDATE child c
  SET state = CASE WHEN c.state = 'processing' THEN c.state ELSE r.stop END, stop = r.stop,
      run_at = NULL, finished_at = CASE WHEN c.state <> 'processing' THEN now() END
  FROM reached r
  WHERE c.parent_id = r.id AND c.finished_at IS NULL AND c.stop IS NULL
    AND NOT EXISTS (
      SELECT FROM settled s WHERE s.parent_id = c.parent_id AND s.ordinal = c.ordinal)
  RETURNING c.parent_id, c.ordinal, c.state
), ends AS (
  SELECT parent_id, count(*)::int AS n, count(*) FILTER (WHERE state = 'failed')::int AS failed,
         count(*) FILTER (WHERE state = 'canceled')::int AS canceled,
         count(*) FILTER (WHERE state = 'expired')::int AS expired, sum(charged)::int AS charged,
         array_agg(ordinal) AS ordinals, array_agg(state) AS states
  FROM (SELECT parent_id, ordinal, state, charged FROM settled
        UNION ALL SELECT parent_id, ordinal, state, 0 FROM stopped) AS both_ways
  WHERE state IN ('completed', 'failed', 'canceled', 'expired')
  GROUP BY 1
), rolled AS (
  UPDATE parent p
  SET done = p.done + e.n, failed = p.failed + e.failed, canceled = p.canceled + e.canceled,
      expired = p.expired + e.expired, charged = p.charged + e.charged,
      state = rolled_up(p.state, p.total, p.done + e.n, p.failed + e.failed,
                        p.canceled + e.canceled, p.expired + e.expired, p.finish,
                        p.cancel_requested_at IS NOT NULL),
      stop = CASE WHEN e.parent_id = ANY(ARRAY(SELECT id FROM reached))
                  THEN coalesce(p.stop, 'canceled') ELSE p.stop END,
      finished_at = CASE WHEN p.done + e.n = p.total THEN now() END
  FROM ends e
  WHERE p.id = e.parent_id
  RETURNING p.id, p.done = p.total AS ended, p.run, p.key_id, p.endpoint, p.tells, p.state,
            p.done - p.failed - p.canceled - p.expired AS completed, p.failed, p.canceled,
            p.expired, e.ordinals, e.states
), outbox AS (
  INSERT INTO delivery (parent_id, run, ordinal, key_id, endpoint, state, counts)
  SELECT r.id, r.run, e.ordinal, r.key_id, r.endpoint, e.state, NULL
  FROM rolled r
  CROSS JOIN LATERAL unnest(r.ordinals, r.states) AS e (ordinal, state)
  WHERE r.tells & 1 = 1
  UNION ALL
  SELECT id, run, 0, key_id, endpoint, state, ARRAY[completed, failed, canceled, expired]
  FROM rolled WHERE ended AND tells & 2 = 2
  RETURNING 1
), told AS MATERIALIZED (
  SELECT lane_id, count(*) FILTER (WHERE state = 'completed') AS completed,
         count(*) FILTER (WHERE broken) AS failures, max(throttled_at) AS throttled_at,
         max(not_before) AS not_before
  FROM settled
  WHERE NOT shared
  GROUP BY 1
), learned AS MATERIALIZED (
  SELECT l.id, t.completed, t.not_before, new.strikes > 0 AS struck, new.halved,
         CASE WHEN t.completed > 0 THEN 0
              WHEN l.failures >= %(strikes)s THEN l.failures + least(1, new.strikes)
              ELSE least(%(strikes)s, l.failures + new.strikes) END AS failures
  FROM told t
  JOIN lane l ON l.id = t.lane_id
  CROSS JOIN LATERAL (
    SELECT coalesce(t.throttled_at > coalesce(l.halved_at, '-infinity'), false) AS halved) AS half
  CROSS JOIN LATERAL (
    SELECT half.halved,
           CASE WHEN t.completed > 0 OR l.open_until > now() THEN 0
                ELSE greatest(t.failures, half.halved::int) END AS strikes) AS new
  WHERE l.learns
    AND (new.strikes > 0 OR new.halved OR t.not_before IS NOT NULL
         OR (t.completed > 0
             AND (l.failures <> 0 OR l.open_until IS NOT NULL OR l.adaptive IS NOT NULL)))
  ORDER BY l.id
  FOR NO KEY UPDATE OF l
), taught AS (
  UPDATE lane l
  SET failures = n.failures,
      open_until = CASE
        WHEN n.completed > 0 THEN NULL
        WHEN NOT n.struck OR n.failures < %(strikes)s THEN l.open_until
        ELSE now() + interval '1 second' * least(
          %(longest)s, %(pause)s * 2 ^ least(16, n.failures - %(strikes)s)) END,
      adaptive = CASE
        WHEN n.halved THEN greatest(1, l.allowed / 2)
        WHEN n.completed = 0 OR l.good + n.completed < l.adaptive THEN l.adaptive
        WHEN l.adaptive + 1 < l.concurrency THEN l.adaptive + 1 END,
      good = CASE
        WHEN n.halved THEN 0
        WHEN n.completed = 0 OR l.adaptive IS NULL THEN l.good
        WHEN l.good + n.completed >= l.adaptive THEN 0
        ELSE l.good + n.completed END,
      halved_at = CASE WHEN n.halved THEN now() ELSE l.halved_at END,
      not_before = greatest(l.not_before, n.not_before)
  FROM learned n
  WHERE l.id = n.id
)
SELECT (SELECT count(*) FROM settled),
       ARRAY(SELECT id FROM rolled WHERE ended),
       CASE WHEN EXISTS (SELECT FROM stopped WHERE state = 'processing')
            THEN pg_notify(%(stopped)s, '') END,
       CASE WHEN EXISTS (SELECT FROM outbox) THEN pg_notify(%(told)s, '') END
"""


async def settle(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> Settled:
    """Record outcomes, durably. A child named twice counts once, by its first outcome."""
    if not outcomes:
        return Settled(0, ())
    columns = outcome_rows.columns(outcomes)
    async with connection.pipeline(), connection.transaction():
        await connection.execute(plans.PROBE)
        cursor = await connection.execute(SETTLE, {**columns, **FIXED})
        await waits.tell(connection, columns["parents"])
        if any(isinstance(outcome, GivenBack) for outcome in outcomes):
            await connection.execute(notify.NOTIFY, {"channel": notify.QUEUED})
    row = await cursor.fetchone()
    return Settled(*row[:2]) if row else Settled(0, ())
