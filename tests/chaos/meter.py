"""How fast work went before, during and after a fault, by the moments at which pieces ended (pure).

Moments are seconds of one clock, in order.
"""

from bisect import bisect_left
from collections.abc import Sequence

WINDOW_SECONDS = 2.0
STEP_SECONDS = 0.1
ENOUGH = 0.9
"""The share of the rate before that counts as recovered."""


def rate(moments: Sequence[float], since: float, until: float) -> float:
    """Pieces a second between two moments."""
    return (bisect_left(moments, until) - bisect_left(moments, since)) / (until - since)


def recovered(
    moments: Sequence[float], *, since: float, until: float, baseline: float
) -> float | None:
    """When the first window began whose rate was enough; None: there is none yet."""
    for step in range(int((until - WINDOW_SECONDS - since) / STEP_SECONDS) + 1):
        start = since + step * STEP_SECONDS
        if start + WINDOW_SECONDS > until:
            break
        if rate(moments, start, start + WINDOW_SECONDS) >= ENOUGH * baseline:
            return start
    return None
