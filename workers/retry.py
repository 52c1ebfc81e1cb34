"""Retry or give up: pure, so that every branch can be tested."""

from typing import NamedTuple

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
