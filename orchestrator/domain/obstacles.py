"""What is in the way of cells that do not run yet, as of one moment."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from orchestrator.domain.documents import WaitingReason


class LaneNow(NamedTuple):
    """A lane at this moment: whether a live worker serves it, its breaker, and what runs in it.

    `open_until` is when its breaker lets a probe through; in the past while the probe runs.
    """

    served: bool
    open_until: datetime | None
    limit: int
    processing: int
    async_limit: int
    async_processing: int


class Obstacles(NamedTuple):
    """The lanes of a parent's cells by id, and whether its key runs all it may.

    `key_full` is for any of its children, `async_full` for those nobody waits for.
    """

    now: datetime
    lanes: Mapping[int, LaneNow]
    key_full: bool
    async_full: bool

    def to(self, lane_id: int, *, sync: bool) -> tuple[WaitingReason, datetime | None] | None:
        """Why a ready child of this lane is not claimed, until when; None when only slots lack."""
        lane = self.lanes.get(lane_id)
        if lane is None:
            return None
        if not lane.served:
            return "no_worker", None
        if lane.open_until is not None and (lane.open_until > self.now or lane.processing):
            return "breaker_open", lane.open_until if lane.open_until > self.now else None
        full = lane.processing >= lane.limit
        if full or (not sync and lane.async_processing >= lane.async_limit):
            return "lane_full", None
        if self.key_full or (self.async_full and not sync):
            return "key_concurrency", None
        return None
