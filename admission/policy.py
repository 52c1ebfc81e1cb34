"""The decisions of admission, pure: numbers in, a value out."""

import math
from typing import NamedTuple

from admission.demand import Demand
from admission.refusals import Admitted, Refusal, RefusalCode, Watch

LONGEST_WAIT_SECONDS = 60


class Usage(NamedTuple):
    """What a key has taken, as its row says: parents waiting, of how many, leaving how fast."""

    depth: int
    capacity: int
    drain_per_second: float = 0.0


def decide(demand: Demand, usage: Usage) -> Admitted | Refusal:
    """Admit the demand whole, or refuse it and say what it met."""
    if demand.places <= headroom(usage):
        return Admitted(depth=usage.depth + demand.places)
    return Refusal(
        code=RefusalCode.QUEUE_CAPACITY_EXCEEDED,
        watch=Watch.ADMISSION_QUEUE,
        limit=usage.capacity,
        current=usage.depth,
        requested=demand.places,
        retry_after_seconds=retry_after(demand.places - headroom(usage), usage.drain_per_second),
    )


def headroom(usage: Usage) -> int:
    """Places free: a demand of this size, made next and alone, is admitted."""
    return max(0, usage.capacity - usage.depth)


def retry_after(missing: int, drain_per_second: float) -> int:
    """Whole seconds (1 to 60) until `missing` places are free at the measured rate.

    A queue that has not moved lately is worth a look after a while, not at once.
    """
    if drain_per_second <= 0:
        return 15
    if missing >= LONGEST_WAIT_SECONDS * drain_per_second:
        return LONGEST_WAIT_SECONDS
    return max(1, math.ceil(missing / drain_per_second))
