"""What the outcomes of one settle say of each lane."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from orchestrator.domain.lanes import Batch
from orchestrator.store.children import Completed, Failed, Outcome, Retry

THROTTLES = {429, 503}
ALIVE = 429
"""Who says that is throttling: no strike."""


class Told(NamedTuple):
    """An outcome that counted, of a child in this lane claimed then."""

    lane: int
    claimed: datetime
    outcome: Outcome


def batches(some: Iterable[Told], now: datetime) -> dict[int, Batch]:
    """By lane."""
    by_lane: dict[int, list[Told]] = {}
    for one in some:
        by_lane.setdefault(one.lane, []).append(one)
    return {lane: _batch(told, now) for lane, told in by_lane.items()}


def _batch(some: list[Told], now: datetime) -> Batch:
    troubles = [one for one in some if isinstance(one.outcome, Retry | Failed)]
    throttled = [one.claimed for one in troubles if one.outcome.response_code in THROTTLES]
    asked = [one.outcome.not_before_seconds for one in troubles]
    longest = max(asked, default=0)
    return Batch(
        completed=sum(isinstance(one.outcome, Completed) for one in some),
        failures=sum(
            one.outcome.failure.retryable and one.outcome.response_code != ALIVE for one in troubles
        ),
        throttled_at=max(throttled, default=None),
        not_before=now + timedelta(seconds=longest) if longest else None,
    )
