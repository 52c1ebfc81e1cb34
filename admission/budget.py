"""What a key may spend: credits, and cells a day and a month. Pure.

Credits are taken at admission, all that a demand may cost; what it does not come to cost goes back.
So what is free is never less than zero, and nothing is charged that was not taken before.
"""

from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from admission.demand import Demand

Period = Literal["daily", "monthly"]


class Quota(NamedTuple):
    """Cells admitted since the UTC day or month began, of how many, and when the next begins."""

    period: Period
    limit: int
    used: int
    resets_at: datetime


class Unaffordable(NamedTuple):
    """Nothing was stored: it may cost `estimated` credits, and `free` are."""

    estimated: int
    free: int


class OverQuota(NamedTuple):
    """Nothing was stored: it has `requested` cells, and the quota has no room for so many."""

    quota: Quota
    requested: int


Short = Unaffordable | OverQuota


class Budget(NamedTuple):
    """Credits that are free, None for no end of them, and the quotas there are."""

    credits: int | None = None
    quotas: tuple[Quota, ...] = ()

    def short(self, demand: Demand) -> Short | None:
        """What there is too little of for this demand."""
        if self.credits is not None and demand.credits > self.credits:
            return Unaffordable(demand.credits, self.credits)
        for quota in self.quotas:
            if quota.used + demand.cells > quota.limit:
                return OverQuota(quota, demand.cells)
        return None

    def after(self, demand: Demand) -> "Budget":
        """What is left once this demand is admitted."""
        if self.credits is None and not self.quotas:
            return self
        left = None if self.credits is None else self.credits - demand.credits
        quotas = tuple(quota._replace(used=quota.used + demand.cells) for quota in self.quotas)
        return Budget(left, quotas)


UNBOUND = Budget()


def quotas(
    now: datetime, *, daily: tuple[int | None, int], monthly: tuple[int | None, int]
) -> tuple[Quota, ...]:
    """The quotas there are, each given as its limit (None: there is none) and what is used."""
    made = ("daily", daily, _next_day(now)), ("monthly", monthly, _next_month(now))
    return tuple(
        Quota(period, limit, used, resets_at)  # type: ignore[arg-type]  # mypy: of the literals
        for period, (limit, used), resets_at in made
        if limit is not None
    )


def _next_day(now: datetime) -> datetime:
    return _midnight(now) + timedelta(days=1)


def _next_month(now: datetime) -> datetime:
    return (_midnight(now).replace(day=1) + timedelta(days=32)).replace(day=1)


def _midnight(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
