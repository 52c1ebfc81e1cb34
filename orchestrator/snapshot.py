"""The snapshot of a key: one consistent statement over counters, O(lanes) whatever the backlog."""

from datetime import datetime
from typing import NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import class_row

from admission.keys import Key
from admission.policy import Usage, headroom
from orchestrator.domain.snapshot import (
    AdmissionQueue,
    Concurrency,
    Headroom,
    InFlight,
    PriorityCount,
    RequestRate,
    Snapshot,
    SyncConcurrency,
)
from orchestrator.domain.times import rfc3339


class _Counted(NamedTuple):
    depth: int
    capacity: int
    concurrency: int
    drain_per_second: float
    oldest_age_seconds: float | None
    places: list[tuple[str, str, int, int, int]]
    priorities: list[tuple[int, int]]
    as_of: datetime


# The oldest waiting parent is the first of one of ten priorities: ten probes of the queue's index.
TAKE = """
SELECT u.depth, u.capacity, u.concurrency,
       drain_rate(u.drained, u.drained_at, extract(epoch FROM now())::float8) AS drain_per_second,
       (SELECT extract(epoch FROM now() - min(o.created_at))::float8
        FROM generate_series(1, 10) AS level
        CROSS JOIN LATERAL (
          SELECT created_at FROM parent
          WHERE key_id = %(key)s AND state = 'queued' AND priority = level
          ORDER BY id LIMIT 1) AS o
        WHERE u.depth > 0) AS oldest_age_seconds,
       (SELECT coalesce(json_agg(json_build_array(
                 l.surface, l.country, i.waiting, i.queued + i.retrying, i.processing)), '[]')
        FROM inflight i
        JOIN lane l ON l.id = i.lane_id
        WHERE i.key_id = %(key)s
          AND i.waiting + i.queued + i.retrying + i.processing > 0) AS places,
       (SELECT coalesce(json_agg(json_build_array(priority, n) ORDER BY priority DESC), '[]')
        FROM backlog WHERE key_id = %(key)s AND n > 0) AS priorities,
       now() AS as_of
FROM usage u
WHERE u.key_id = %(key)s
"""


async def take(connection: AsyncConnection, key: Key) -> Snapshot:
    """What this key has waiting, queued and running now, and what it may still send."""
    cursor = connection.cursor(row_factory=class_row(_Counted))
    await cursor.execute(TAKE, {"key": key.id})
    counted = await cursor.fetchone()
    assert counted  # noqa: S101 - a key has its usage row from the statement that made it
    return document(key, counted)


def document(key: Key, counted: _Counted) -> Snapshot:
    """The document made of what was counted."""
    as_of = rfc3339(counted.as_of)
    waiting = sum(place[2] for place in counted.places)
    queued = sum(place[3] for place in counted.places)
    processing = sum(place[4] for place in counted.places)
    limits = key.limits
    return Snapshot(
        admission_queue=AdmissionQueue(
            depth=counted.depth,
            capacity=counted.capacity,
            waiting=counted.depth,
            reserved=0,
            delayed=0,
            held=(),
            drain_per_second=round(counted.drain_per_second, 3),
            oldest_age_seconds=_rounded(counted.oldest_age_seconds),
        ),
        sync_concurrency=SyncConcurrency(limit=limits.sync_limit, running=0),
        request_rate=RequestRate(
            limit=limits.requests_per_minute,
            remaining=limits.requests_per_minute,
            reset_at=as_of,
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
        concurrency=Concurrency(used=processing, max=counted.concurrency + limits.sync_limit),
        headroom=Headroom(
            asynchronous=headroom(Usage(counted.depth, counted.capacity)),
            sync=limits.sync_limit,
        ),
        as_of=as_of,
    )


def _grouped(places: list[tuple[str, str, int, int, int]], by: int) -> dict[str, int]:
    groups: dict[str, int] = {}
    for place in places:
        name = str(place[by])
        groups[name] = groups.get(name, 0) + place[2] + place[3] + place[4]
    return dict(sorted(groups.items()))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else max(0.0, round(seconds, 3))
