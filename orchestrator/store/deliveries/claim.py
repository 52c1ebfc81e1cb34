"""Claiming deliveries: whose are due, and so many of each for a deliverer.

Endpoints are walked by an index that has their first due delivery in front, so what one of them has
piled up is never looked through to find another's. A walk is bounded: it goes on where it ended.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import kwargs_row

from admission.durability import UNFLUSHED
from orchestrator.domain.rows import ChildRow
from orchestrator.store import plans
from orchestrator.store.children import read

LEASE_SECONDS = 30.0
"""How long a claim holds: an attempt takes ten at most, then its outcome has to be recorded."""
BEFORE_ALL = -(1 << 63)
"""No endpoint has this name: a walk begins after it."""


# One probe an endpoint, until enough were met or enough have something due.
DUE = """
WITH RECURSIVE walk AS (
  (SELECT endpoint, key_id, due_at, 1 AS met, (due_at <= now())::int AS due FROM delivery
   WHERE status = 'pending' AND again = %(again)s AND endpoint > %(after)s
   ORDER BY again, endpoint, due_at
   LIMIT 1)
  UNION ALL
  SELECT following.endpoint, following.key_id, following.due_at, walk.met + 1,
         walk.due + (following.due_at <= now())::int
  FROM walk
  CROSS JOIN LATERAL (
    SELECT endpoint, key_id, due_at FROM delivery
    WHERE status = 'pending' AND again = %(again)s AND endpoint > walk.endpoint
    ORDER BY again, endpoint, due_at
    LIMIT 1) AS following
  WHERE walk.met < %(most)s AND walk.due < %(most_due)s
)
SELECT coalesce(array_agg(endpoint) FILTER (WHERE due_at <= now()), '{}') AS endpoints,
       coalesce(array_agg(key_id) FILTER (WHERE due_at <= now()), '{}') AS keys,
       CASE WHEN max(met) >= %(most)s OR max(due) >= %(most_due)s
            THEN max(endpoint) END AS reached,
       extract(epoch FROM min(due_at) FILTER (WHERE due_at > now()) - now())::float8 AS seconds
FROM walk
"""


class Look(NamedTuple):
    """Which endpoints to look at: some that come after this one, in the order of their names.

    Of those with something pending that was attempted before (`again`), or that was not: `most`
    of them, and fewer as soon as `most_due` of them have something due.
    """

    again: bool
    after: int
    most: int
    most_due: int


class Due(NamedTuple):
    """An endpoint that has something due, and whose it is."""

    endpoint: int
    key_id: int


class Met(NamedTuple):
    """What a look met: who has something due; in how many seconds the first of the others has.

    `reached` is the endpoint after which there may be more; None: there were no more.
    """

    due: list[Due]
    reached: int | None
    seconds: float | None


async def due(connection: AsyncConnection, look: Look) -> Met:
    """What this look meets."""
    async with connection.pipeline(), connection.transaction():
        await connection.execute(plans.IN_ORDER)
        cursor = connection.cursor(row_factory=kwargs_row(_met))
        await cursor.execute(DUE, look._asdict())
    (met,) = await cursor.fetchall()
    return met


def _met(
    *, endpoints: list[int], keys: list[int], reached: int | None, seconds: float | None
) -> Met:
    return Met(list(map(Due, endpoints, keys)), reached, seconds)


class Order(NamedTuple):
    """So many of an endpoint's, of those attempted before or of the others."""

    endpoint: int
    again: bool
    most: int


class ClaimedDelivery(NamedTuple):
    """A delivery to attempt, and what its event is about.

    `attempt` counts from 1. Of a parent's event there are `counts` (completed, failed, canceled,
    expired), of a child's there is the row as its event found it.
    """

    parent_id: UUID
    run: int
    ordinal: int
    claim: int
    attempt: int
    key_id: int
    endpoint: int
    state: str
    created_at: datetime
    counts: list[int] | None
    child: ChildRow | None


# What runs again has another row by now: `cell` is the one that the event is about.
CLAIM = """
WITH wanted AS (
  SELECT * FROM unnest(%(endpoints)b::int8[], %(agains)b::bool[], %(counts)b::int4[])
    AS t (endpoint, again, n)
), picked AS MATERIALIZED (
  SELECT d.*
  FROM wanted w
  CROSS JOIN LATERAL (
    SELECT parent_id, run, ordinal FROM delivery
    WHERE status = 'pending' AND again = w.again AND endpoint = w.endpoint AND due_at <= now()
    ORDER BY again, endpoint, due_at
    LIMIT w.n
    FOR NO KEY UPDATE SKIP LOCKED) AS d
), fitting AS MATERIALIZED (
  SELECT parent_id, run, ordinal
  FROM (
    SELECT p.*, sum(octet_length(c.result::text)) OVER (
             ORDER BY p.parent_id, p.run, p.ordinal
             ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM picked p
    LEFT JOIN child c ON c.parent_id = p.parent_id AND c.ordinal = p.ordinal) AS p
  WHERE coalesce(before, 0) < %(bytes)s
), claimed AS (
  UPDATE delivery d
  SET again = true, attempts = d.attempts + 1, claim = %(token)s,
      due_at = now() + %(lease)s * interval '1 second'
  FROM fitting p
  WHERE d.parent_id = p.parent_id AND d.run = p.run AND d.ordinal = p.ordinal
  RETURNING d.parent_id, d.run, d.ordinal, d.claim, d.attempts AS attempt, d.key_id, d.endpoint,
            d.state, d.created_at, d.counts, d.cell
)
SELECT d.parent_id, d.run, d.ordinal, d.claim, d.attempt, d.key_id, d.endpoint, d.state,
       d.created_at, d.counts, d.cell IS NOT NULL AS kept,
       coalesce((d.cell ->> 'attempt')::int, c.attempt) AS tries,
       coalesce((d.cell ->> 'started_at')::timestamptz, c.started_at) AS started_at,
       coalesce((d.cell ->> 'claimed_at')::timestamptz, c.claimed_at) AS claimed_at,
       coalesce((d.cell ->> 'finished_at')::timestamptz, c.finished_at) AS finished_at,
       coalesce((d.cell ->> 'cancel_requested_at')::timestamptz, c.cancel_requested_at)
         AS cancel_requested_at,
       coalesce(d.cell ->> 'error', c.error::text) AS error,
       coalesce(d.cell ->> 'log', array_to_json(c.log)::text) AS log,
       coalesce((d.cell ->> 'response_code')::int, c.response_code) AS response_code,
       c.result::text AS capture, coalesce(c.charged, 0) AS charged
FROM claimed d
LEFT JOIN child c ON c.parent_id = d.parent_id AND c.ordinal = d.ordinal AND d.cell IS NULL
"""


async def claim(
    connection: AsyncConnection, orders: Collection[Order], *, token: int, most_bytes: int
) -> list[ClaimedDelivery]:
    """Take what is due of these orders for `LEASE_SECONDS`.

    Of captures it brings `most_bytes` and no more than one beyond; the rest stays due.
    Not flushed to disk: of a claim that a crash forgets each delivery is attempted again.
    """
    if not orders:
        return []
    named: dict[str, Any] = {
        "endpoints": [order.endpoint for order in orders],
        "agains": [order.again for order in orders],
        "counts": [order.most for order in orders],
        "token": token,
        "lease": LEASE_SECONDS,
        "bytes": most_bytes,
    }
    async with connection.pipeline(), connection.transaction():
        await connection.execute(UNFLUSHED)
        await connection.execute(plans.IN_ORDER)
        cursor = connection.cursor(row_factory=kwargs_row(_claimed))
        await cursor.execute(CLAIM, named)
    return await cursor.fetchall()


def _claimed(
    *,
    parent_id: UUID,
    run: int,
    ordinal: int,
    claim: int,
    attempt: int,
    key_id: int,
    endpoint: int,
    state: str,
    created_at: datetime,
    counts: list[int] | None,
    kept: bool,
    tries: int | None,
    **columns: Any,
) -> ClaimedDelivery:
    child = None
    if ordinal and (kept or tries is not None):
        told: dict[str, Any] = {"parent_id": parent_id, "ordinal": ordinal, "attempt": tries or 0}
        child = read.row(state=state, run_at=None, **told, **columns)
    return ClaimedDelivery(
        parent_id, run, ordinal, claim, attempt, key_id, endpoint, state, created_at, counts, child
    )
