"""Preflight: what would become of jobs submitted now, and places held for them where wanted."""

import random
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import class_row

from admission import reservations, usage
from admission.keys import Key
from admission.pace import Pace
from admission.policy import Usage, headroom, sync_headroom
from admission.rate import Rate, Seen
from admission.reservations import Reservation
from orchestrator import snapshot
from orchestrator.domain import estimates, ids, preflight
from orchestrator.domain.estimates import Going
from orchestrator.domain.preflight import Jobs, Preflight, Reserved
from orchestrator.domain.snapshot import Headroom, RequestRate
from orchestrator.domain.times import rfc3339
from orchestrator.store import strands


class Asker(NamedTuple):
    """Who asks, and what their API process knows: the waits of sync callers, its own tokens."""

    key: Key
    pace: Pace
    node: int
    observe: Callable[[Seen], Rate] | None = None


class Crowded(NamedTuple):
    """Nothing was reserved: the key has as many live reservations as it may."""

    live: int


async def look(connection: AsyncConnection, asker: Asker, jobs: Jobs) -> Preflight:
    """What would become of the jobs, as of one moment; takes nothing and promises nothing.

    The caller's transaction sees one moment.
    """
    taken = await usage.read(connection, asker.key.id)
    assert taken  # noqa: S101 - a key has its usage row from the statement that made it
    return await _foreseen(connection, asker, jobs, taken, await _rate(connection, asker))


async def reserve(
    connection: AsyncConnection, asker: Asker, jobs: Jobs, *, seconds: float
) -> Preflight | Crowded:
    """The same, and the jobs' places held for so long if they are async and would be admitted.

    In a transaction of the caller's, whose end lets others of this key in again.
    """
    key = asker.key.id
    rate = await _rate(connection, asker)  # no admission of the key waits for that
    taken = (await usage.lock(connection, [key]))[key]
    seen = await _foreseen(connection, asker, jobs, taken, rate)
    if jobs.sync or not seen.admitted:
        return seen
    if (live := len(taken.reservations)) >= reservations.MOST:
        return Crowded(live)
    made = await reservations.make(
        connection, ids.new(), key_id=key, places=jobs.n, seconds=seconds
    )
    after = taken._replace(reservations={**taken.reservations, made.id: made.places})
    return msgspec.structs.replace(seen, headroom=_room(after), reservation=_reserved(made))


GOING = """
SELECT u.depth - u.delayed AS ready,
       drain_rate(u.drained, u.drained_at, u.drained_from, clock) AS drain_per_second,
       (SELECT coalesce(sum(waiting + queued + retrying + processing), 0)::int
        FROM inflight WHERE key_id = u.key_id) AS cells,
       sync AS sync_cells, u.queued + u.processing + u.retrying - sync AS in_flight,
       2 * u.concurrency AS window, u.processing, u.ended, u.ended_at, u.ended_from, u.busy,
       u.spent, u.busy_at, clock AS now
FROM usage u
CROSS JOIN LATERAL (SELECT u.sync_queued + u.sync_processing + u.sync_retrying AS sync,
                           extract(epoch FROM clock_timestamp())::float8 AS clock) AS own
WHERE u.key_id = %(key)s
"""


async def going(connection: AsyncConnection, key_id: int) -> Going:
    """How the work of this key, which exists, goes."""
    cursor = connection.cursor(row_factory=class_row(Going))
    found = await (await cursor.execute(GOING, {"key": key_id})).fetchone()
    assert found  # noqa: S101 - as in `look`
    return found


async def _rate(connection: AsyncConnection, asker: Asker) -> RequestRate:
    taken = await snapshot.take(connection, asker.key.id, node=asker.node, observe=asker.observe)
    return taken.request_rate


async def _foreseen(
    connection: AsyncConnection, asker: Asker, jobs: Jobs, taken: Usage, rate: RequestRate
) -> Preflight:
    key = asker.key
    resumes = await strands.resumes(connection, [key.id]) if jobs.n > headroom(taken) else {}
    paced = taken._replace(
        sync_per_second=asker.pace.per_second(key.id, taken.sync_limit),
        resumes_in=resumes.get(key.id),
    )
    now = await going(connection, key.id)
    met = preflight.met(jobs, paced, rate, chance=random.random())  # noqa: S311 - it spreads
    return Preflight(
        admitted=met is None,
        binding=met and met.binding,
        headroom=_room(taken),
        retry_after_seconds=met and met.retry_after_seconds,
        estimated_start_seconds=_rounded(estimates.start_seconds(now, jobs)),
        estimated_finish_seconds=_rounded(estimates.finish_seconds(now, jobs)),
        estimated_credits=jobs.n * jobs.credits,
        reservation=None,
    )


def _room(taken: Usage) -> Headroom:
    return Headroom(asynchronous=headroom(taken), sync=sync_headroom(taken))


def _reserved(made: Reservation) -> Reserved:
    name = ids.reservation_text(made.id)
    return Reserved(id=name, places=made.places, expires_at=rfc3339(made.expires_at))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
