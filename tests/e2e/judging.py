"""What an upstream's log says of those who called it: pure, so that the judge can be judged."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(kw_only=True, slots=True)
class Call:
    """A call as the upstream saw it, in seconds of the clock on the wall.

    It is the one the database reads: a host that sets it forward does so for both. Until the call
    `ended`, by an answer or because the caller was gone, both that and `status` are None;
    one whose caller went has no status.
    """

    worker: str
    query: str
    arrived: float
    ended: float | None = None
    status: int | None = None

    def open_at(self, moment: float) -> bool:
        """Whether it had arrived by then, and not ended."""
        return self.arrived <= moment and (self.ended is None or self.ended > moment)


def most_at_once(calls: Sequence[Call]) -> int:
    """The most calls that were open at one moment; who ends makes room for who arrives."""
    changes = [(call.arrived, 1) for call in calls]
    changes += [(call.ended, -1) for call in calls if call.ended is not None]
    return max(accumulate(change for _, change in sorted(changes)), default=0)


def most_beyond(starts: Sequence[float], rate: float) -> float:
    """By how many starts the worst window passes its rate (a second): 0 or less is within it.

    In any window of w seconds at most max(1, rate) + rate × w may start. Every window between two
    starts is looked at: no other has more in less time.
    """
    starts, burst = sorted(starts), max(1.0, rate)
    return max(
        n - burst - rate * (last - first)
        for nth, first in enumerate(starts)
        for n, last in enumerate(starts[nth:], 1)
    )


def best_share(starts: Sequence[float], rate: float, seconds: float) -> float:
    """How much of its rate was used in the best window of so many seconds.

    The bucket's burst, which is there at first, adds to no rate: its second is left out.
    """
    begun = min(starts, default=0.0) + 1
    starts = sorted(start for start in starts if start > begun)
    lasts = [bisect_left(starts, first + seconds) for first in starts]
    return max(
        (
            (last - nth) / (rate * (starts[last] - starts[nth]))
            for nth, last in enumerate(lasts)
            if last < len(starts)
        ),
        default=0.0,
    )


def statuses(calls: Sequence[Call]) -> list[int | None]:
    """What was answered, in order of arrival."""
    return [call.status for call in calls]
