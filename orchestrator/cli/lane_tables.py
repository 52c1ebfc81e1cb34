"""Lanes as tables for people, and what is in the way of one, in words."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from orchestrator.cli.output import table
from orchestrator.domain.lane_views import LaneView

if TYPE_CHECKING:
    from rich.table import Table

    from orchestrator.domain.snapshot import HeldLane

NUMBERS = frozenset({"Running", "Queued", "Configured", "Limit", "Adaptive", "Jobs"})
NONE = "-"
SYNC_PLACE_FROM = 4
"""In lanes of so many places async work leaves one to sync calls, as the claim has it."""
REASONS = {"breaker_open": "breaker open", "lane_paused": "paused"}


def table_of(
    lanes: Iterable[LaneView], *, title: str | None = None, unserved: Collection[str] = ()
) -> "Table":
    """A row per lane: `running` of those allowed, what limits it, how it is.

    `unserved` are surfaces known to have no live worker.
    """
    columns = ("Surface", "Country", "Running", "Queued", "Configured", "Limit", "Adaptive", "Rate")
    made = table(*columns, "State", right=NUMBERS, title=title)
    for lane in lanes:
        adaptive = lane.adaptive_limit if lane.adaptive_limit < lane.concurrency else None
        made.add_row(
            lane.surface,
            lane.country,
            f"{lane.processing:,} of {lane.allowed:,}",
            f"{lane.queued:,}",
            f"{lane.concurrency:,}",
            _number(lane.limit),
            _number(adaptive),
            lane.rate or NONE,
            state(lane, unserved),
        )
    return made


def state(lane: LaneView, unserved: Collection[str] = ()) -> str:
    """What is in the way of a lane; `ok` when nothing is."""
    return "; ".join((*_stops(lane, unserved), *_limits(lane))) or "ok"


def _stops(lane: LaneView, unserved: Collection[str]) -> Iterable[str]:
    """Why nothing starts."""
    if lane.paused:
        yield "paused"
    if lane.surface in unserved:
        yield "no live worker"
    if lane.breaker.state == "open":
        yield f"breaker open until {lane.breaker.until}"
    if lane.breaker.state == "half_open":
        yield "half-open: one probe at a time"
    if lane.retry_at:
        yield f"throttled until {lane.retry_at}"


def _limits(lane: LaneView) -> Iterable[str]:
    """Why no more starts."""
    if lane.limit is not None and lane.limit < lane.concurrency:
        yield f"limited to {lane.limit:,} at once"
    if lane.adaptive_limit < lane.concurrency:
        yield f"throttled to {lane.adaptive_limit:,} at once"
    if lane.queued and lane.processing >= lane.allowed - (lane.allowed >= SYNC_PLACE_FROM):
        yield "full"
    if lane.queued and lane.rate:
        yield f"{lane.queued:,} queued at {lane.rate}"


def held(lanes: "Iterable[HeldLane]") -> "Table":
    """A row per lane that keeps parents in the queue: how many, why, until when."""
    made = table("Held by", "Country", "Jobs", "Why", "Until", right=NUMBERS)
    for lane in lanes:
        why, until = REASONS.get(lane.reason, lane.reason), lane.until or NONE
        made.add_row(lane.surface, lane.region, f"{lane.parents:,}", why, until)
    return made


def _number(limit: int | None) -> str:
    return NONE if limit is None else f"{limit:,}"
