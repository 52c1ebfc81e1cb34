"""Settling: outcomes of many children in one durable statement, fenced and rolled up."""

from collections.abc import Sequence
from typing import NamedTuple, assert_never
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from orchestrator import notify
from orchestrator.domain.envelope import Failure
from orchestrator.store import plans, waits


class Fence(NamedTuple):
    """What a claim gave out; an outcome with another token is stale and changes nothing."""

    parent_id: UUID
    ordinal: int
    claim: int


class Completed(NamedTuple):
    """The capture came home; `capture` is its JSON."""

    fence: Fence
    capture: str
    response_code: int | None = None


class Retry(NamedTuple):
    """A transient failure; the child is staged again after the delay, on the database's clock."""

    fence: Fence
    failure: Failure
    delay_seconds: float
    response_code: int | None = None


class Failed(NamedTuple):
    """The end of a child that did not work."""

    fence: Fence
    failure: Failure
    response_code: int | None = None


class GivenBack(NamedTuple):
    """Never really tried (the node is leaving): queued again, the attempt not counted."""

    fence: Fence


Outcome = Completed | Retry | Failed | GivenBack


class Settled(NamedTuple):
    """What a settle changed: children whose fence held, and the parents that ended by it."""

    children: int
    parents: Sequence[UUID]


STRIKES = 10
"""So many attempts that fail in a row open a lane's breaker: hardly chance, and not many calls."""
PAUSE_SECONDS = 5.0
"""How long nothing starts in the lane then; doubled with each probe that fails as well."""
LONGEST_PAUSE_SECONDS = 60.0
"""A lane that works again is found within this."""
BREAKER = {"strikes": STRIKES, "pause": PAUSE_SECONDS, "longest": LONGEST_PAUSE_SECONDS}

# Arrays go in binary (%b): as text each quote of each capture would be escaped in Python, half of
# a worker's time. Parents first, sorted; the fence alone finds the child (with the state in it
# the planner would walk the index of all running children); the roll-up adds to what the row says
# now. It never recounts siblings.
#
# Lanes are locked by id, after parents and children and before any counter, and only when there is
# something to write: a failure, or an end to failures. What fails while a breaker is open had
# started before: it says nothing new.
SETTLE = """
WITH outcome AS MATERIALIZED (
  SELECT * FROM unnest(
    %(parents)b::uuid[], %(ordinals)b::int2[], %(claims)b::int8[], %(states)b::text[],
    %(captures)b::json[], %(errors)b::json[], %(codes)b::int2[], %(delays)b::float8[]
  ) AS t (parent_id, ordinal, claim, state, capture, error, code, delay)
), locked AS MATERIALIZED (
  SELECT id FROM parent WHERE id = ANY(%(parents)b::uuid[]) ORDER BY id FOR NO KEY UPDATE
), settled AS (
  UPDATE child c
  SET state = o.state, claim = NULL, node = NULL, result = o.capture,
      attempt = c.attempt - (o.state = 'queued')::int,
      response_code = o.code,
      error = CASE WHEN o.state = 'failed' THEN o.error END,
      run_at = CASE WHEN o.state = 'retrying' THEN now() + o.delay * interval '1 second' END,
      finished_at = CASE WHEN o.state IN ('completed', 'failed') THEN now() END,
      log = CASE WHEN o.state = 'retrying' THEN array_append(c.log, json_build_object(
          'number', c.attempt, 'status', 'failed', 'code', o.error ->> 'code',
          'response_code', o.code, 'started_at', c.claimed_at, 'ended_at', now()))
        ELSE c.log END
  FROM outcome o, (SELECT count(*) FROM locked) AS held
  WHERE c.parent_id = o.parent_id AND c.ordinal = o.ordinal AND c.claim = o.claim
  RETURNING c.parent_id, c.state, c.lane_id,
            c.state = 'retrying' OR (c.state = 'failed' AND o.error ->> 'retryable' = 'true')
              AS transient
), ends AS (
  SELECT parent_id, count(*) AS n, count(*) FILTER (WHERE state = 'failed') AS failed
  FROM settled
  WHERE state IN ('completed', 'failed')
  GROUP BY 1
), rolled AS (
  UPDATE parent p
  SET done = p.done + e.n, failed = p.failed + e.failed,
      state = CASE
        WHEN p.done + e.n < p.total THEN p.state
        WHEN p.failed + e.failed + p.canceled + p.expired = 0 THEN 'completed'
        WHEN p.failed + e.failed + p.canceled + p.expired < p.total THEN 'partial'
        WHEN p.failed + e.failed > 0 THEN 'failed'
        WHEN p.expired > 0 THEN 'expired'
        ELSE 'canceled' END,
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
       ARRAY(SELECT id FROM rolled WHERE ended)
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
        cursor = await connection.execute(SETTLE, {**named, **BREAKER})
        await waits.tell(connection, named["parents"])
        if any(isinstance(outcome, GivenBack) for outcome in outcomes):
            await connection.execute(notify.NOTIFY, {"channel": notify.QUEUED})
    row = await cursor.fetchone()
    return Settled(*row) if row else Settled(0, ())


_COLUMNS = ("parents", "ordinals", "claims", "states", "captures", "errors", "codes", "delays")
_Row = tuple[UUID, int, int, str, str | None, str | None, int | None, float | None]


def _row(outcome: Outcome) -> _Row:
    match outcome:
        case Completed(fence, capture, code):
            return (*fence, "completed", capture, None, code, None)
        case Retry(fence, failure, delay, code):
            seconds = float(delay)  # an adapter may say 30: an array takes numbers of one kind
            return (*fence, "retrying", None, _json(failure), code, seconds)
        case Failed(fence, failure, code):
            return (*fence, "failed", None, _json(failure), code, None)
        case GivenBack(fence):
            return (*fence, "queued", None, None, None, None)
    assert_never(outcome)


def _json(failure: Failure) -> str:
    return msgspec.json.encode(failure).decode()
