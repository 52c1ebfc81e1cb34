"""Retry or give up: pure, so that every branch can be tested."""

from collections.abc import Sequence
from typing import NamedTuple

DELIVERY_SECONDS = (5.0, 30.0, 120.0, 600.0, 3_600.0, 21_600.0)
"""After each attempt at a delivery but the last."""
JITTER = 0.2
"""A scheduled pause is up to this part shorter or longer."""
CLORO_SECONDS = (120.0, 240.0, 480.0, 960.0)
"""The same of the deliveries that cloro's clients expect."""
BASE_SECONDS = 1.0
LONGEST_SECONDS = 60.0


class Again(NamedTuple):
    """Try again after this many seconds."""

    delay_seconds: float


class GiveUp(NamedTuple):
    """No further attempt."""


def decide(
    *,
    attempt: int,
    most: int,
    permanent: bool,
    floor_seconds: float,
    chance: float,
) -> Again | GiveUp:
    """What follows a failed attempt (numbered from 1), of at most `most`.

    Full jitter over an exponential backoff: uniform in 0 … min(60, 2^(attempt - 1)) seconds,
    `chance` in [0, 1) choosing where. What the upstream asked for is the floor.
    """
    if permanent or attempt >= most:
        return GiveUp()
    ceiling = min(LONGEST_SECONDS, BASE_SECONDS * 2.0 ** min(attempt - 1, 16))
    return Again(max(ceiling * chance, floor_seconds))


def doubling(*, attempt: int, most: int, permanent: bool) -> Again | GiveUp:
    """What follows a failed attempt (numbered from 1): 1, 2, 4, 8 … seconds, drawn from nothing."""
    if permanent or attempt >= most:
        return GiveUp()
    return Again(BASE_SECONDS * 2.0 ** (attempt - 1))


def scheduled(
    *, attempt: int, pauses: Sequence[float], floor_seconds: float, chance: float
) -> Again | GiveUp:
    """What follows a failed attempt (numbered from 1) where the pauses between them are given.

    Each is drawn from around what it is said to be, `chance` in [0, 1) choosing where; what the
    other side asked for is the floor, as far as it asks for no more than the longest pause.
    """
    if attempt > len(pauses):
        return GiveUp()
    pause = pauses[attempt - 1] * (1 - JITTER + 2 * JITTER * chance)
    return Again(max(pause, min(floor_seconds, max(pauses))))
