"""The snapshot of a key, as `GET /v1/async/status` shows it and clients read it."""

from typing import Literal

import msgspec

from orchestrator.domain.envelope import Wire


class HeldLane(Wire):
    """Parents kept in the queue by a lane that is paused or whose breaker has not closed.

    `until` is when the breaker lets a probe through; null of a paused lane and of a half-open one.
    """

    surface: str
    region: str
    parents: int
    reason: Literal["breaker_open", "lane_paused"]
    until: str | None


class AdmissionQueue(Wire):
    """Places taken (`depth` = waiting + reserved) of `capacity`; rates and ages in seconds."""

    depth: int
    capacity: int
    waiting: int
    reserved: int
    delayed: int
    held: tuple[HeldLane, ...]
    drain_per_second: float
    oldest_age_seconds: float | None


class SyncConcurrency(Wire):
    """Sync callers at once."""

    limit: int
    running: int


class RequestRate(Wire):
    """Requests a minute; `reset_at` is when all are there again."""

    limit: int
    remaining: int
    reset_at: str


class InFlight(Wire):
    """Every cell not yet ended; zero groups are left out."""

    total: int
    waiting: int
    queued: int
    processing: int
    by_surface: dict[str, int]
    by_region: dict[str, int]


class PriorityCount(Wire):
    """Cells waiting or queued at a priority."""

    priority: int
    count: int


class Concurrency(Wire):
    """Cells being captured, and the most that may be."""

    used: int
    max: int


class Headroom(Wire):
    """What would be admitted next, alone."""

    asynchronous: int = msgspec.field(name="async")
    sync: int


class Snapshot(Wire):
    """The whole document of `GET /v1/async/status`."""

    admission_queue: AdmissionQueue
    sync_concurrency: SyncConcurrency
    request_rate: RequestRate
    inflight: InFlight
    queued_tasks: int
    processing_tasks: int
    priority_breakdown: tuple[PriorityCount, ...]
    concurrency: Concurrency | None
    headroom: Headroom
    as_of: str
