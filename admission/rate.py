"""The request rate, pure: a bucket of tokens per key, shared out to the processes in small lots.

The bucket holds as many tokens as the key may make requests a minute, and refills evenly. Each
process spends from a **lot** of its own, so that a request pays no round trip. Tokens in the bucket
and in lots, together, never exceed the limit: in d seconds no more than limit + d × limit / 60 are
spent, over all processes. The other way a key may find one lot of each process out of its reach.

A process that does not speak of its lot spends from it for `GOOD_SECONDS` more; after those and
the time of one more lot the lot counts no more. So neither a process that died nor one that wakes
after a long sleep spoils the sum.
"""

from typing import NamedTuple

GOOD_SECONDS = 5.0
"""How long a lot may be spent from after its process last spoke of it."""
CLOCK_STEP = 1e-6
"""Tokens by which a clock in epoch seconds may fall short."""


def size(limit: int) -> int:
    """Tokens in a full lot: a second's worth, at least one."""
    return max(1, limit // 60)


class Rate(NamedTuple):
    """Requests a minute, those left now, and when (epoch seconds) all are there again."""

    limit: int
    remaining: int
    reset_at: int


class Standing(NamedTuple):
    """The bucket of a key under its lock, and the lots out of it: of others, and of who asks."""

    limit: int
    tokens: float
    filled_at: float
    others: int
    mine: int
    now: float


class Ask(NamedTuple):
    """What a process says of its lot: tokens it holds, gives back and wants; the rest is spent."""

    held: int
    returned: int
    wanted: int


class Lease(NamedTuple):
    """The bucket after an `Ask`, as of the epoch second `at`; the asker's lot is `lot`."""

    limit: int
    granted: int
    tokens: float
    others: int
    lot: int
    at: float


class Seen(NamedTuple):
    """Tokens of a key in its bucket and in all lots, and when a process last spoke of its own."""

    level: float
    leased_at: float


def lease(standing: Standing, ask: Ask) -> Lease:
    """Fill the bucket up to now, put back what is returned, and grant what is there.

    What was spent makes room in the bucket from now on only: its refill so far had to leave room
    for it. So it is as if every token had been spent at the last moment.
    """
    limit, tokens, filled_at, others, mine, now = standing
    room = limit - others - mine
    filled = min(float(room), tokens + max(0.0, now - filled_at) * limit / 60)
    level = max(0.0, filled + min(ask.returned, max(0, mine - ask.held)))
    granted = min(ask.wanted, int(level + CLOCK_STEP))
    return Lease(limit, granted, level - granted, others, ask.held + granted, max(now, filled_at))
