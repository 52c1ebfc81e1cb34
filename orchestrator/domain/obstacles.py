"""What is in the way of cells that do not run yet, as of one moment."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from orchestrator.domain.documents import WaitingReason

Obstacle = tuple[WaitingReason, datetime | None]
"""What is in the way, and until when where that is known."""


class LaneNow(NamedTuple):
    """A lane at this moment: whether a live worker serves it, what stops it, and what runs in it.

    `open_until` is when its breaker lets a probe through; in the past while it is half-open.
    Nothing starts before `not_before`, nor before `next_token_at`, when its rate allows the next
    start: None when it does now. `limit` is how many it may run at once, all limits considered.
    """

    served: bool
    paused: bool
    open_until: datetime | None
    not_before: datetime | None
    next_token_at: datetime | None
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

    def to(self, lane_id: int, *, sync: bool) -> Obstacle | None:
        """Why a ready child of this lane is not claimed, until when; None when only slots lack."""
        lane = self.lanes.get(lane_id)
        if lane is None:
            return None
        if barred := self._shut(lane) or self._cut_off(lane) or self._paced(lane):
            return barred
        full = lane.processing >= lane.limit
        if full or (not sync and lane.async_processing >= lane.async_limit):
            return "lane_full", None
        if self.key_full or (self.async_full and not sync):
            return "key_concurrency", None
        return None

    def holding(self, lane_id: int) -> Obstacle | None:
        """Why a cell of this lane keeps its parent in the queue; None when the lane does not.

        A half-open lane lets out one parent at a time, and holds the others.
        """
        lane = self.lanes.get(lane_id)
        if lane is None:
            return None
        if barred := self._shut(lane):
            return barred
        if lane.open_until is None:
            return None
        return "breaker_open", self._ahead(lane.open_until)

    def _shut(self, lane: LaneNow) -> Obstacle | None:
        if not lane.served:
            return "no_worker", None
        return ("lane_paused", None) if lane.paused else None

    def _cut_off(self, lane: LaneNow) -> Obstacle | None:
        """Whether the breaker is open, or half-open and its probe runs."""
        if lane.open_until is None:
            return None
        until = self._ahead(lane.open_until)
        return ("breaker_open", until) if until or lane.processing else None

    def _paced(self, lane: LaneNow) -> Obstacle | None:
        """Until when the upstream's word or the lane's rate lets nothing start."""
        moments = map(self._ahead, (lane.not_before, lane.next_token_at))
        until = max((at for at in moments if at), default=None)
        return ("lane_rate", until) if until else None

    def _ahead(self, moment: datetime | None) -> datetime | None:
        return moment if moment is not None and moment > self.now else None
