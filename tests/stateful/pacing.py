"""The request rate: tokens taken through two books of one database, a minute in a moment."""

import time
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import rule

from admission.rate import size
from tests.stateful.reserving import Reserving
from tests.stateful.strategies import doors, indexes

REST_SECONDS = 61
"""After so long every bucket is full, and what silent processes held counts no more."""

visits = st.tuples(
    doors, st.sampled_from([1, 2, 5, 70, 200]), st.sampled_from([0, 0, 1, 7, REST_SECONDS])
)


@dataclass
class Tokens:
    """The most and the least tokens a key may have left at a time; `at` is rather before it."""

    limit: int
    most: float
    least: float
    at: float


class Pacing(Reserving):
    """Two processes that spend one bucket."""

    def __init__(self, world) -> None:
        super().__init__(world)
        self.tokens: dict[int, Tokens] = {}
        self.passed = 0.0

    @rule(index=indexes, visits=st.lists(visits, min_size=1, max_size=4))
    def knock(self, index, visits) -> None:
        """As many are let in as there are tokens; who is not and waits as told is, alone.

        Or the second time: what came first may have gone to fill up the other process's lot.
        """
        for door, times, seconds in visits:
            self.seconds_pass(seconds)
            entered = self.enter(index, door, times) == times
        for _ in range(0 if entered else 2):
            self.seconds_pass(self.world.doors[door].patience(self.key(index)))
            entered = entered or self.enter(index, door, 1) == 1
        assert entered

    def enter(self, index: int, door: int, times: int) -> int:
        """Never over the bucket in total; after a rest at most a lot of each process under."""
        key, began = self.key(index), self.now()
        limit = key.limits.requests_per_minute
        left = self.tokens.get(key.id) or Tokens(limit, limit, _sure(limit), began)
        if left.limit != limit:  # until it has rested
            left.least = 0
        granted = self.world.run(self.world.doors[door].knock(key, times))
        earned = (self.now() - left.at) * max(left.limit, limit) / 60
        most = max(left.most, min(limit, left.most + earned))
        assert min(times, left.least) <= granted <= most
        self.tokens[key.id] = Tokens(limit, most - granted, max(0, left.least - granted), began)
        return granted

    def seconds_pass(self, seconds: float) -> None:
        self.world.run(self.world.later(seconds))
        self.passed += seconds
        if seconds == REST_SECONDS:
            for key in self.keys:
                if left := self.tokens.get(key.id):
                    left.limit = key.limits.requests_per_minute
                    left.least = _sure(left.limit)

    def now(self) -> float:
        return time.time() + self.passed


def _sure(limit: int) -> int:
    return limit - 2 * size(limit) - 1
