"""Looking before the leap: which limit jobs would meet, and the answer a client reads. Pure."""

import math
from typing import Literal, NamedTuple

from admission.budget import OverQuota, Quota, Unaffordable
from admission.demand import Demand
from admission.policy import Refused, Usage, decide, retry_after
from orchestrator.domain.envelope import Wire
from orchestrator.domain.snapshot import Headroom, RequestRate

Binding = Literal["admissionQueue", "syncConcurrency", "requestRate", "credits", "quota"]
MOST_A_REQUEST = 500
"""Jobs of one batch."""


class Jobs(NamedTuple):
    """`n` equal jobs to look ahead for, each of so many `cells` and `credits`.

    Sync ones are waited for, each in a request of its own. `served`: a live worker serves some of
    their surfaces.
    """

    n: int
    cells: int
    credits: int = 0
    sync: bool = False
    served: bool = True


class Met(NamedTuple):
    """The limit jobs meet first; None seconds when they can never fit at once, or nobody knows."""

    binding: Binding
    retry_after_seconds: int | None


def met(jobs: Jobs, usage: Usage, rate: RequestRate, *, chance: float = 0.0) -> Met | None:
    """The first limit that would refuse the jobs, submitted now and alone, with when to come back.

    The rate as after this very request. `chance` is admission's.
    """
    requests = jobs.n if jobs.sync else -(-jobs.n // MOST_A_REQUEST)
    if requests > rate.remaining:
        due = retry_after((requests - rate.remaining) * 60 / rate.limit, chance)
        return Met("requestRate", due if requests <= rate.limit else None)
    places, callers = (0, jobs.n) if jobs.sync else (jobs.n, 0)
    demand = Demand(0, places, callers, cells=jobs.n * jobs.cells, credits=jobs.n * jobs.credits)
    match usage.budget.short(demand):
        case Unaffordable():
            return Met("credits", None)
        case OverQuota(quota):
            return Met("quota", _until(quota, usage.now) if demand.cells <= quota.limit else None)
    decision = decide(demand, usage, chance=chance)
    if not isinstance(decision, Refused):
        return None
    refusal = decision.refusal
    fits = jobs.n <= refusal.limit
    binding: Binding = "syncConcurrency" if jobs.sync else "admissionQueue"
    return Met(binding, refusal.retry_after_seconds if fits else None)


def _until(quota: Quota, now: float) -> int:
    """Whole seconds until a quota begins anew."""
    return max(1, math.ceil(quota.resets_at.timestamp() - now))


class Reserved(Wire):
    """A reservation: so many places of the admission queue until `expires_at`."""

    id: str
    places: int
    expires_at: str


class Preflight(Wire):
    """What would become of these jobs, submitted now and alone.

    `binding` is the first limit they meet. `retry_after_seconds` is null when they are admitted,
    when they can never fit at once, and when credits lack; of a quota it is until that begins anew.
    `estimated_start_seconds` is until the first of them would leave the admission queue,
    `estimated_finish_seconds` until the last of their cells has ended, behind all this key has
    sent, at the pace of now; null when that is not known. `headroom` is what is left beside the
    reservation.
    """

    admitted: bool
    binding: Binding | None
    headroom: Headroom
    retry_after_seconds: int | None
    estimated_start_seconds: float | None
    estimated_finish_seconds: float | None
    estimated_credits: int
    reservation: Reserved | None
