"""The decisions of admission, pure: numbers in, a value out."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from admission.budget import UNBOUND, Budget
from admission.demand import Demand
from admission.refusals import Refusal, RefusalCode, Taken, Watch

LONGEST_WAIT_SECONDS = 60
SPREAD_SECONDS = 16
"""Those told to come back at the longest come back over this many seconds, not together."""
ROUNDING_SECONDS = 1e-6
"""What clocks added up are off by is not worth a second more."""
SLOWEST_DRAIN = 1 / 15
"""Places a second of a queue that has not moved lately: worth a look after a while, not at once."""
RESUMED_DRAIN = 10.0
"""Places a second, as far as callers are told, of a queue that is to move again."""
NONE: Mapping[UUID, int] = MappingProxyType({})


class Usage(NamedTuple):
    """What a key has taken, as its rows say under their lock.

    Parents waiting and places left in live `reservations` of how many, the former leaving at
    `drain_per_second`; sync `callers` waiting and sync parents `detached` from theirs, of how many,
    ending at `sync_per_second`. What comes free is promised to those refused before, until
    `promised` and `sync_promised`. Times are epoch seconds.

    `resumes_in` is how many seconds from now the queue moves again, if most of it cannot move.
    `budget` is what may be spent; `decide` does not look at it.
    """

    waiting: int
    capacity: int
    reservations: Mapping[UUID, int] = NONE
    drain_per_second: float = 0.0
    callers: int = 0
    detached: int = 0
    sync_limit: int = 0
    sync_per_second: float = 0.0
    promised: float = 0.0
    sync_promised: float = 0.0
    now: float = 0.0
    resumes_in: float | None = None
    budget: Budget = UNBOUND

    @property
    def reserved(self) -> int:
        """Places held for submissions to come."""
        return sum(self.reservations.values())

    @property
    def depth(self) -> int:
        """Every place taken."""
        return self.waiting + self.reserved

    @property
    def sync_running(self) -> int:
        """Sync places taken: callers, and detached parents beyond the limit.

        So a place is free at once in ordinary use, and a key never has more than twice its limit
        of unfinished sync parents.
        """
        return self.callers + max(0, self.detached - self.sync_limit)

    @property
    def taken(self) -> Taken:
        """The numbers that go with every refusal."""
        return Taken(self.sync_limit, self.sync_running, self.depth)


class Admitted(NamedTuple):
    """The demand holds its places; `usage` counts them too."""

    usage: Usage


class Refused(NamedTuple):
    """The demand took nothing but a promise, which `usage` remembers."""

    usage: Usage
    refusal: Refusal


def decide(demand: Demand, usage: Usage, *, chance: float = 0.0) -> Admitted | Refused:
    """Admit the demand whole, or refuse it and say what it met and when to come back.

    `chance` in [0, 1) spreads those who are told to come back at the longest.
    """
    if demand.callers > sync_headroom(usage):
        return _no_caller(demand, usage, chance)
    if demand.places - drawn(demand, usage) > headroom(usage):
        return _no_place(demand, usage, chance)
    return Admitted(_taken(demand, usage))


def drawn(demand: Demand, usage: Usage) -> int:
    """How many of its places the demand has reserved: all that are left, of a live reservation."""
    if demand.reservation is None:
        return 0
    return min(demand.places, usage.reservations.get(demand.reservation, 0))


def _taken(demand: Demand, usage: Usage) -> Usage:
    """What is taken with this demand too; what it drew on was taken before."""
    reservations = usage.reservations
    if demand.reservation is not None and (places := drawn(demand, usage)):
        left = reservations[demand.reservation] - places
        reservations = {**reservations, demand.reservation: left}
    return usage._replace(
        waiting=usage.waiting + demand.places,
        reservations=reservations,
        callers=usage.callers + demand.callers,
        budget=usage.budget.after(demand),
    )


def headroom(usage: Usage) -> int:
    """Places free: a demand of this size, made next and alone, is admitted."""
    return max(0, usage.capacity - usage.depth)


def sync_headroom(usage: Usage) -> int:
    """Sync places free: as many callers, coming next and alone, are admitted."""
    return max(0, usage.sync_limit - usage.sync_running)


def _no_place(demand: Demand, usage: Usage, chance: float) -> Refused:
    wanted = demand.places - drawn(demand, usage)
    missing = wanted - (usage.capacity - usage.depth)
    due = _due(usage, missing, wanted)
    refusal = Refusal(
        code=RefusalCode.QUEUE_CAPACITY_EXCEEDED,
        watch=Watch.ADMISSION_QUEUE,
        limit=usage.capacity,
        current=usage.depth,
        requested=demand.places,
        retry_after_seconds=retry_after(due - usage.now, chance),
        taken=usage.taken,
    )
    return Refused(usage._replace(promised=min(due, usage.now + LONGEST_WAIT_SECONDS)), refusal)


def _due(usage: Usage, missing: int, wanted: int) -> float:
    """When there is room for `wanted` places, as far as can be known."""
    if usage.resumes_in is None:
        return promise(usage.promised, usage.now, missing, wanted, usage.drain_per_second)
    return max(usage.now + usage.resumes_in, usage.promised) + wanted / RESUMED_DRAIN


def _no_caller(demand: Demand, usage: Usage, chance: float) -> Refused:
    missing = demand.callers - (usage.sync_limit - usage.sync_running)
    pace = usage.sync_per_second
    due = promise(usage.sync_promised, usage.now, missing, demand.callers, pace)
    refusal = Refusal(
        code=RefusalCode.CONCURRENCY_LIMIT_EXCEEDED,
        watch=Watch.SYNC_CONCURRENCY,
        limit=usage.sync_limit,
        current=usage.sync_running,
        requested=demand.callers,
        retry_after_seconds=retry_after(due - usage.now, chance),
        taken=usage.taken,
    )
    last = usage.now + LONGEST_WAIT_SECONDS
    return Refused(usage._replace(sync_promised=min(due, last)), refusal)


def promise(promised: float, now: float, missing: int, wanted: int, per_second: float) -> float:
    """When `wanted` places will be free for this one, behind those they are promised to already."""
    pace = max(per_second, SLOWEST_DRAIN)
    return max(now + missing / pace, max(now, promised) + wanted / pace)


def retry_after(seconds: float, chance: float = 0.0) -> int:
    """Whole seconds (1 to 60) to wait; what is further away is spread over the last of them."""
    if seconds > LONGEST_WAIT_SECONDS:
        return LONGEST_WAIT_SECONDS - int(chance * SPREAD_SECONDS)
    return math.ceil(max(1.0, seconds - ROUNDING_SECONDS))
