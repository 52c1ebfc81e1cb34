"""Settling: outcomes of many children in one durable statement, fenced and rolled up."""

from collections.abc import Sequence
from typing import assert_never
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from orchestrator import notify
from orchestrator.domain.envelope import OVERDUE, Failure
from orchestrator.store import plans, waits
from orchestrator.store.children.outcomes import (
    Completed,
    Failed,
    GivenBack,
    Outcome,
    Retry,
    Settled,
)

STRIKES = 10
"""So many attempts that fail in a row open a lane's breaker: hardly chance, and not many calls."""
PAUSE_SECONDS = 5.0
"""How long nothing starts in the lane then; doubled with each probe that fails as well."""
LONGEST_PAUSE_SECONDS = 60.0
"""A lane that works again is found within this."""
FIXED = {
    "strikes": STRIKES,
    "pause": PAUSE_SECONDS,
    "longest": LONGEST_PAUSE_SECONDS,
    "overdue": msgspec.json.encode(OVERDUE).decode(),
    "stopped": notify.STOPPED,
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
# Lanes are locked by id, after parents and children and before any counter, and only when there is
# something to write: a failure, or an end to failures. What fails while a breaker is open had
# started before: it says nothing new.
SETTLE = """
WITH outcome AS MATERIALIZED (
  SELECT * FROM unnest(
    %(parents)b::uuid[], %(ordinals)b::int2[], %(claims)b::int8[], %(states)b::text[],
    %(captures)b::json[], %(errors)b::json[], %(codes)b::int2[], %(delays)b::float8[],
    %(charges)b::int4[]
  ) AS t (parent_id, ordinal, claim, state, capture, error, code, delay, charge)
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
  RETURNING c.parent_id, c.ordinal, c.state, c.lane_id, c.charged,
            o.state = 'retrying' OR (o.state = 'failed' AND o.error ->> 'retryable' = 'true')
              AS transient
), stopped AS (
  UPDATE child c
  SET state = CASE WHEN c.state = 'processing' THEN c.state ELSE r.stop END, stop = r.stop,
      run_at = NULL, finished_at = CASE WHEN c.state <> 'processing' THEN now() END
  FROM reached r
  WHERE c.parent_id = r.id AND c.finished_at IS NULL AND c.stop IS NULL
    AND NOT EXISTS (
      SELECT FROM settled s WHERE s.parent_id = c.parent_id AND s.ordinal = c.ordinal)
  RETURNING c.parent_id, c.state
), ends AS (
  SELECT parent_id, count(*)::int AS n, count(*) FILTER (WHERE state = 'failed')::int AS failed,
         count(*) FILTER (WHERE state = 'canceled')::int AS canceled,
         count(*) FILTER (WHERE state = 'expired')::int AS expired, sum(charged)::int AS charged
  FROM (SELECT parent_id, state, charged FROM settled
        UNION ALL SELECT parent_id, state, 0 FROM stopped) AS both_ways
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
  RETURNING p.id, p.done = p.total AS ended
), lanes AS MATERIALIZED (
  SELECT lane_id, bool_or(state = 'completed') AS healthy,
         count(*) FILTER (WHERE transient) AS failures
  FROM settled
  GROUP BY 1
), struck AS MATERIALIZED (
  SELECT l.id, s.healthy,
         CASE WHEN s.healthy THEN 0
              WHEN l.failures >= %(strikes)s THEN l.failures + 1
              ELSE least(%(strikes)s, l.failures + s.failures) END AS failures
  FROM lanes s
  JOIN lane l ON l.id = s.lane_id
  WHERE CASE WHEN s.healthy THEN l.failures <> 0 OR l.open_until IS NOT NULL
             ELSE s.failures > 0 AND (l.open_until > now()) IS NOT TRUE END
  ORDER BY l.id
  FOR NO KEY UPDATE OF l
), breaker AS (
  UPDATE lane l
  SET failures = s.failures,
      open_until = CASE
        WHEN s.healthy THEN NULL
        WHEN s.failures < %(strikes)s THEN l.open_until
        ELSE now() + interval '1 second' * least(
          %(longest)s, %(pause)s * 2 ^ least(16, s.failures - %(strikes)s)) END
  FROM struck s
  WHERE l.id = s.id
)
SELECT (SELECT count(*) FROM settled),
       ARRAY(SELECT id FROM rolled WHERE ended),
       CASE WHEN EXISTS (SELECT FROM stopped WHERE state = 'processing')
            THEN pg_notify(%(stopped)s, '') END
"""


async def settle(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> Settled:
    """Record outcomes, durably. A child named twice counts once, by its first outcome."""
    if not outcomes:
        return Settled(0, ())
    rows = {outcome.fence: _row(outcome) for outcome in reversed(outcomes)}
    columns = [list(column) for column in zip(*rows.values(), strict=True)]
    async with connection.pipeline(), connection.transaction():
        await connection.execute(plans.PROBE)
        named = dict(zip(_COLUMNS, columns, strict=True))
        cursor = await connection.execute(SETTLE, {**named, **FIXED})
        await waits.tell(connection, named["parents"])
        if any(isinstance(outcome, GivenBack) for outcome in outcomes):
            await connection.execute(notify.NOTIFY, {"channel": notify.QUEUED})
    row = await cursor.fetchone()
    return Settled(*row[:2]) if row else Settled(0, ())


_COLUMNS = (
    *("parents", "ordinals", "claims", "states", "captures", "errors", "codes", "delays"),
    "charges",
)
_Row = tuple[UUID, int, int, str, str | None, str | None, int | None, float | None, int]


def _row(outcome: Outcome) -> _Row:
    match outcome:
        case Completed(fence, capture, code, charge):
            return (*fence, "completed", capture, None, code, None, charge)
        case Retry(fence, failure, delay, code):
            seconds = float(delay)  # an adapter may say 30: an array takes numbers of one kind
            return (*fence, "retrying", None, _json(failure), code, seconds, 0)
        case Failed(fence, failure, code):
            return (*fence, "failed", None, _json(failure), code, None, 0)
        case GivenBack(fence):
            return (*fence, "queued", None, None, None, None, 0)
    assert_never(outcome)


def _json(failure: Failure) -> str:
    return msgspec.json.encode(failure).decode()
