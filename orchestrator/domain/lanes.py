"""What a lane learns from its outcomes, and how its rate is kept; the SQL that does it is the twin.

Breaker: closed while `open_until` is None; open until then; half-open after, one child at a time,
until one completes.
"""

from datetime import datetime, timedelta

import msgspec

STRIKES = 10
"""So many attempts that fail in a row open a lane's breaker: hardly chance, and not many calls."""
PAUSE_SECONDS = 5.0
"""How long nothing starts in the lane then; doubled with each probe that fails as well."""
LONGEST_PAUSE_SECONDS = 60.0
"""A lane that works again is found within this."""
MOST_DOUBLINGS = 16
LONGEST_RETRY_AFTER_SECONDS = 3600.0
"""An upstream that asks for longer is called again after this."""
SPREAD_SECONDS = 0.25
"""How much later than its claim a start may reach the upstream."""


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """A lane's limits and what it remembers. `limited` is an operator's, None none.

    `adaptive` is how many at once an upstream bears that throttled, None: all; `good` counts what
    completed since it last changed; nothing starts before `not_before`.
    """

    concurrency: int
    limited: int | None = None
    adaptive: int | None = None
    good: int = 0
    halved_at: datetime | None = None
    failures: int = 0
    open_until: datetime | None = None
    not_before: datetime | None = None

    @property
    def allowed(self) -> int:
        """How many may run at once."""
        limits = (self.concurrency, self.limited, self.adaptive)
        return min(limit for limit in limits if limit is not None)


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What the outcomes of one settle say of a lane.

    `failures` are the transient ones but for 429s: who throttles is alive. `throttled_at` is the
    latest claim among attempts answered 429 or 503, `not_before` the latest moment an upstream
    asked to wait for.
    """

    completed: int = 0
    failures: int = 0
    throttled_at: datetime | None = None
    not_before: datetime | None = None


def after(lane: Lane, batch: Batch, now: datetime) -> Lane:
    """The lane once these outcomes are known.

    A halving is a strike too, one however many calls were throttled: who only ever throttles is
    left alone in the end.
    """
    halved = _halved(lane, batch)
    lane = _struck(lane, batch, max(batch.failures, int(halved)), now)
    lane = _adapted(lane, batch, now, halved=halved)
    return msgspec.structs.replace(lane, not_before=_latest(lane.not_before, batch.not_before))


def _halved(lane: Lane, batch: Batch) -> bool:
    """Whether something was throttled that started after the last halving."""
    if batch.throttled_at is None:
        return False
    return lane.halved_at is None or batch.throttled_at > lane.halved_at


def _struck(lane: Lane, batch: Batch, strikes: int, now: datetime) -> Lane:
    """The breaker. What fails while it is open had started before: it says nothing new."""
    if batch.completed:
        return msgspec.structs.replace(lane, failures=0, open_until=None)
    if not strikes or (lane.open_until and lane.open_until > now):
        return lane
    if lane.failures >= STRIKES:
        failures = lane.failures + 1
    else:
        failures = min(STRIKES, lane.failures + strikes)
    lane = msgspec.structs.replace(lane, failures=failures)
    if failures < STRIKES:
        return lane
    pause = PAUSE_SECONDS * 2.0 ** min(MOST_DOUBLINGS, failures - STRIKES)
    until = now + timedelta(seconds=min(LONGEST_PAUSE_SECONDS, pause))
    return msgspec.structs.replace(lane, open_until=until)


def _adapted(lane: Lane, batch: Batch, now: datetime, *, halved: bool) -> Lane:
    """The adaptive limit: halved, or grown by one a batch."""
    if halved:
        half = max(1, lane.allowed // 2)
        return msgspec.structs.replace(lane, adaptive=half, good=0, halved_at=now)
    if lane.adaptive is None or not batch.completed:
        return lane
    good = lane.good + batch.completed
    if good < lane.adaptive:
        return msgspec.structs.replace(lane, good=good)
    grown = lane.adaptive + 1
    whole = grown >= lane.concurrency
    return msgspec.structs.replace(lane, adaptive=None if whole else grown, good=0)


def _latest(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((moment for moment in (one, other) if moment), default=None)


def capacity(rate: float, spread: float = SPREAD_SECONDS) -> float:
    """Tokens that the bucket of a lane with this rate (starts a second) holds; each start costs 1.

    With `refill`, an upstream logs at most rate × w + max(1, rate) starts in any window of w
    seconds, which is rate × (w + 1) from a rate of one a second on. Proof: what it logs in a window
    was granted in that window or at most `spread` before, and w + spread seconds grant at most
    capacity + refill × (w + spread). Where the bucket holds more than one token that is
    rate × (1 - spread) + rate × (w + spread). Where it holds one, grants are 1/rate + spread apart,
    so starts are 1/rate apart, and at most 1 + rate × w fall into the window.
    """
    return max(1.0, rate * (1.0 - spread))


def refill(rate: float, spread: float = SPREAD_SECONDS) -> float:
    """Tokens that come back a second; see `capacity`."""
    if rate * (1.0 - spread) >= 1.0:
        return rate
    return 1.0 / (1.0 / rate + spread)
