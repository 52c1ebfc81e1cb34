"""Lanes and their breakers, as far as they say how many children may run."""

from typing import Literal, NamedTuple


class Breaker(NamedTuple):
    """Failures in a row in a lane, and what becomes of its children."""

    failures: int = 0
    state: Literal["closed", "open", "half open"] = "closed"


class Lane(NamedTuple):
    """How many children may run in a lane, whatever their breaker says and by it."""

    limit: int
    breaker: Breaker = Breaker()

    @property
    def most(self) -> int:
        return {"closed": self.limit, "open": 0, "half open": min(1, self.limit)}[
            self.breaker.state
        ]

    @property
    def most_async(self) -> int:
        """A lane of some size keeps a place for who waits."""
        return min(self.most, self.limit - (self.limit >= 4))
