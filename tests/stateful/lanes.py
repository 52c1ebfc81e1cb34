"""Lanes as the machine knows them: what is configured and ordered, what they learned and spent."""

import math
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from orchestrator.domain import lanes
from orchestrator.domain.lanes import STRIKES, Batch
from orchestrator.surfaces import RegionLimits, per_second

SOON = timedelta(hours=1)
DAY = timedelta(hours=24)


class Bucket(NamedTuple):
    """Tokens of a rate as of `filled_at` (epoch seconds)."""

    tokens: float
    filled_at: float

    @property
    def known(self) -> bool:
        """Whether there is one: it is empty else, and stays so."""
        return math.isfinite(self.filled_at)


class Lane(NamedTuple):
    """A lane. What it learned is a record of the product's, advanced as the product says.

    Whatever is to happen in it is hours away, or over: no moment comes while it is looked at.
    """

    surface: str
    country: str
    learned: lanes.Lane
    rate: float | None = None
    paused: bool = False
    bucket: Bucket = Bucket(0.0, math.inf)

    @property
    def shut(self) -> bool:
        """Paused, or its breaker has not closed."""
        return self.paused or self.learned.open_until is not None

    @property
    def still(self) -> bool:
        """Nothing starts in it for a while, or one probe."""
        return self.shut or _ahead(self.learned.not_before)

    @property
    def barred(self) -> bool:
        """Shut, and not even a probe may start."""
        return self.paused or _ahead(self.learned.open_until)

    @property
    def most(self) -> int:
        """How many may run, if there are tokens for them."""
        if self.barred or _ahead(self.learned.not_before):
            return 0
        return min(1, self.learned.allowed) if self.shut else self.learned.allowed

    @property
    def most_async(self) -> int:
        """A lane of some size keeps a place for who waits."""
        allowed = self.learned.allowed
        return min(self.most, allowed - (allowed >= 4))

    @property
    def window(self) -> int:
        """Children ready or between attempts, at most: twice what may run or soon start."""
        started_soon = math.inf if self.rate is None else 1 + math.ceil(self.rate)
        return int(2 * min(self.learned.allowed, started_soon))

    def tokens(self, clock: float) -> float:
        """How many may start at this moment, as far as the rate goes."""
        if self.rate is None:
            return math.inf
        earned = self.earned(self.bucket.filled_at, clock)
        return min(lanes.capacity(self.rate), self.bucket.tokens + earned)

    def earned(self, since: float, until: float) -> float:
        """Tokens that come back between these moments."""
        return lanes.refill(self.rate) * max(0.0, until - since) if self.rate else math.inf

    def configured(self, limits: RegionLimits) -> "Lane":
        """With other limits. What its upstream bears is no limit where it is no less."""
        rate, learned = per_second(limits.rate), self.learned
        if (learned.concurrency, self.rate) == (limits.concurrency, rate):
            return self
        bears = learned.adaptive
        if bears is not None and bears >= limits.concurrency:
            bears = None
        learned = replace(learned, concurrency=limits.concurrency, adaptive=bears)
        return self._replace(learned=learned, rate=rate)

    def told(self, batch: Batch, now: datetime) -> "Lane":
        """Once these outcomes are known."""
        return self._replace(learned=lanes.after(self.learned, batch, now))

    def resumed(self) -> "Lane":
        """An operator says that it works."""
        learned = replace(self.learned, not_before=None)
        return self._replace(learned=learned, paused=False).healed()

    def healed(self) -> "Lane":
        return self._replace(learned=replace(self.learned, failures=0, open_until=None))

    def limited(self, most: int | None) -> "Lane":
        return self._replace(learned=replace(self.learned, limited=most))

    def struck(self) -> "Lane":
        """Once more and its breaker opens."""
        return self._replace(learned=replace(self.learned, failures=STRIKES - 1))

    def broken(self) -> "Lane":
        """Its breaker is open, for days."""
        learned = replace(self.learned, failures=STRIKES, open_until=_now() + DAY)
        return self._replace(learned=learned)

    def pinned(self) -> "Lane":
        """A breaker that has just opened stays so for a day."""
        until = self.learned.open_until
        if until is None or abs(until - _now()) > SOON:
            return self
        return self._replace(learned=replace(self.learned, open_until=until + DAY))

    def later(self, what: str) -> "Lane":
        """After its breaker's pause, or after what its upstream asked for, whichever is meant."""
        moment = getattr(self.learned, what)
        if not _ahead(moment):
            return self
        return self._replace(learned=replace(self.learned, **{what: moment - 3 * DAY}))


def _ahead(moment: datetime | None) -> bool:
    return moment is not None and moment > _now()


def _now() -> datetime:
    return datetime.now(UTC)
