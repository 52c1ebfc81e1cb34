"""A lane as clients and operators read it."""

from orchestrator.domain.envelope import Wire
from orchestrator.domain.rows import BreakerState, LaneRow
from orchestrator.domain.times import rfc3339

_UNITS = (("s", 1.0), ("min", 60.0), ("h", 3600.0))


class Breaker(Wire):
    """Whether a lane is cut off after repeated failures, and until when."""

    state: BreakerState = "closed"
    until: str | None = None


class LaneView(Wire):
    """A surface seen from a country, over all keys.

    `concurrency` and `rate` are as configured, `limit` is an operator's; `adaptive_limit` is what
    the upstream bears: less than `concurrency` after it throttled. `allowed` is the least of the
    three: how many run at once. Nothing starts while it is `paused`, or before `retry_at`, when the
    upstream said to come again.
    """

    surface: str
    country: str
    concurrency: int
    rate: str | None
    limit: int | None
    adaptive_limit: int
    allowed: int
    queued: int
    processing: int
    paused: bool
    retry_at: str | None
    breaker: Breaker


def view(row: LaneRow) -> LaneView:
    """What is read of a lane."""
    return LaneView(
        surface=row.surface,
        country=row.country,
        concurrency=row.concurrency,
        rate=rate(row.rate),
        limit=row.limited,
        adaptive_limit=row.concurrency if row.adaptive is None else row.adaptive,
        allowed=row.allowed,
        queued=row.queued + row.retrying,
        processing=row.processing,
        paused=row.paused_at is not None,
        retry_at=rfc3339(row.not_before),
        breaker=Breaker(state=row.breaker, until=rfc3339(row.open_until)),
    )


def rate(per_second: float | None) -> str | None:
    """`10/s`, `30/min`, `6/h`: of the shortest time in which at least one starts, or of an hour.

    Whatever can be configured is told as it can be configured (`orchestrator.surfaces.per_second`).
    """
    if per_second is None:
        return None
    unit, seconds = next((one for one in _UNITS if per_second * one[1] >= 1), _UNITS[-1])
    number = f"{per_second * seconds:.6f}".rstrip("0").rstrip(".")
    return f"{number}/{unit}"
