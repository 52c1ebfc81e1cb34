"""The snapshot of a key: one consistent statement over counters, O(lanes) whatever the backlog."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import class_row

from admission import usage
from admission.policy import Usage, headroom, sync_headroom
from admission.rate import GOOD_SECONDS, Rate, Seen
from orchestrator.domain.snapshot import (
    AdmissionQueue,
    Concurrency,
    Headroom,
    HeldLane,
    InFlight,
    PriorityCount,
    RequestRate,
    Snapshot,
    SyncConcurrency,
)
from orchestrator.domain.times import rfc3339


class _Counted(NamedTuple):
    waiting: int
    delayed: int
    reservations: dict[str, int] | None
    capacity: int
    detached: int
    sync_limit: int
    callers: int
    concurrency: int
    drain_per_second: float
    oldest_age_seconds: float | None
    held: list[tuple[str, str, int, bool, float | None]]
    places: list[tuple[str, str, int, int, int]]
    priorities: list[tuple[int, int]]
    requests_per_minute: int
    tokens: float
    leased_at: float
    as_of: datetime


# Reservations that expired by now count no more, deleted or not.
TAKE = """
SELECT u.depth AS waiting, u.delayed, u.capacity, u.detached, u.sync_limit, u.concurrency,
       (SELECT json_object_agg(id, places) FROM reservation
        WHERE key_id = %(key)s AND places > 0 AND expires_at > now()) AS reservations,
       (SELECT count(*)::int FROM sync_wait WHERE key_id = %(key)s) AS callers,
       drain_rate(u.drained, u.drained_at, u.drained_from, extract(epoch FROM now())::float8)
         AS drain_per_second,
       (SELECT extract(epoch FROM now() - o.created_at)::float8
        FROM (SELECT created_at FROM parent
              WHERE key_id = %(key)s AND state = 'queued'
              ORDER BY id LIMIT 1) AS o
        WHERE u.depth > u.delayed) AS oldest_age_seconds,
       (SELECT coalesce(json_agg(json_build_array(
                 l.surface, l.country, s.n, l.paused_at IS NOT NULL,
                 CASE WHEN l.open_until > now() THEN extract(epoch FROM l.open_until) END)
                 ORDER BY l.surface, l.country), '[]')
        FROM lane l
        CROSS JOIN LATERAL (
          SELECT sum(n)::int AS n FROM strand
          WHERE key_id = %(key)s AND waiting AND l.id = ANY(lanes)) AS s
        WHERE u.depth > u.delayed AND (l.paused_at IS NOT NULL OR l.open_until IS NOT NULL)
          AND s.n > 0) AS held,
       (SELECT coalesce(json_agg(json_build_array(
                 l.surface, l.country, i.waiting, i.queued + i.retrying, i.processing)), '[]')
        FROM inflight i
        JOIN lane l ON l.id = i.lane_id
        WHERE i.key_id = %(key)s
          AND i.waiting + i.queued + i.retrying + i.processing > 0) AS places,
       (SELECT coalesce(json_agg(json_build_array(priority, n) ORDER BY priority DESC), '[]')
        FROM backlog WHERE key_id = %(key)s AND n > 0) AS priorities,
       k.requests_per_minute,
       coalesce(least(k.requests_per_minute - lots.tokens,
                      b.tokens + greatest(0, extract(epoch FROM now())::float8 - b.filled_at)
                                 * k.requests_per_minute / 60.0) + lots.tokens,
                k.requests_per_minute)::float8 AS tokens,
       lots.leased_at, now() AS as_of
FROM usage u
JOIN api_key k ON k.id = u.key_id
LEFT JOIN rate_bucket b ON b.key_id = u.key_id
CROSS JOIN LATERAL (
  SELECT coalesce(sum(tokens), 0)::float8 AS tokens,
         coalesce(max(leased_at) FILTER (WHERE node = %(node)s), 0) AS leased_at
  FROM rate_lot
  WHERE key_id = u.key_id
    AND leased_at > extract(epoch FROM now())::float8 - %(good)s
                    - greatest(%(good)s, 60.0 / k.requests_per_minute)) AS lots
WHERE u.key_id = %(key)s
"""


async def take(
    connection: AsyncConnection,
    key_id: int,
    *,
    node: int = 0,
    observe: Callable[[Seen], Rate] | None = None,
) -> Snapshot:
    """What this key has waiting, queued and running now, and what it may still send.

    A process that leases tokens of the request rate names its `node` and tells by `observe` what
    is left of the tokens seen, since only it knows what it spent of its lot.
    """
    cursor = connection.cursor(row_factory=class_row(_Counted))
    await cursor.execute(TAKE, {"key": key_id, "node": node, "good": GOOD_SECONDS})
    counted = await cursor.fetchone()
    assert counted  # noqa: S101 - a key has its usage row from the statement that made it
    seen = Seen(counted.tokens, counted.leased_at)
    return document(counted, observe(seen) if observe else _rate(counted))


def _rate(counted: _Counted) -> Rate:
    limit, epoch = counted.requests_per_minute, counted.as_of.timestamp()
    full = epoch + (limit - counted.tokens) * 60 / limit
    return Rate(limit, int(counted.tokens), math.ceil(full))


def document(counted: _Counted, rate: Rate) -> Snapshot:
    """The document made of what was counted."""
    as_of = rfc3339(counted.as_of)
    waiting = sum(place[2] for place in counted.places)
    queued = sum(place[3] for place in counted.places)
    processing = sum(place[4] for place in counted.places)
    taken = Usage(
        waiting=counted.waiting,
        capacity=counted.capacity,
        reservations=usage.reserved(counted.reservations),
        callers=counted.callers,
        detached=counted.detached,
        sync_limit=counted.sync_limit,
    )
    return Snapshot(
        admission_queue=AdmissionQueue(
            depth=taken.depth,
            capacity=taken.capacity,
            waiting=taken.waiting,
            reserved=taken.reserved,
            delayed=counted.delayed,
            held=tuple(map(_held, counted.held)),
            drain_per_second=round(counted.drain_per_second, 3),
            oldest_age_seconds=_rounded(counted.oldest_age_seconds),
        ),
        sync_concurrency=SyncConcurrency(limit=taken.sync_limit, running=taken.sync_running),
        request_rate=RequestRate(
            limit=rate.limit,
            remaining=rate.remaining,
            reset_at=rfc3339(datetime.fromtimestamp(rate.reset_at, UTC)),
        ),
        inflight=InFlight(
            total=waiting + queued + processing,
            waiting=waiting,
            queued=queued,
            processing=processing,
            by_surface=_grouped(counted.places, 0),
            by_region=_grouped(counted.places, 1),
        ),
        queued_tasks=waiting + queued,
        processing_tasks=processing,
        priority_breakdown=tuple(
            PriorityCount(priority=priority, count=n) for priority, n in counted.priorities
        ),
        concurrency=Concurrency(used=processing, max=counted.concurrency + taken.sync_limit),
        headroom=Headroom(asynchronous=headroom(taken), sync=sync_headroom(taken)),
        as_of=as_of,
    )


def _held(lane: tuple[str, str, int, bool, float | None]) -> HeldLane:
    surface, country, parents, paused, until = lane
    opens = None if until is None or paused else datetime.fromtimestamp(until, UTC)
    return HeldLane(
        surface=surface,
        region=country,
        parents=parents,
        reason="lane_paused" if paused else "breaker_open",
        until=rfc3339(opens),
    )


def _grouped(places: list[tuple[str, str, int, int, int]], by: int) -> dict[str, int]:
    groups: dict[str, int] = {}
    for place in places:
        name = str(place[by])
        groups[name] = groups.get(name, 0) + place[2] + place[3] + place[4]
    return dict(sorted(groups.items()))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else max(0.0, round(seconds, 3))
