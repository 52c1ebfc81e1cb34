"""How long sync callers of a key have waited lately, for an honest `Retry-After`."""

from cachetools import LRUCache

MOST_KEYS = 10_000
WEIGHT = 0.2
"""Of the newest wait in the mean."""
FIRST_GUESS_SECONDS = 2.0
SHORTEST_SECONDS = 0.001
"""A job that had ended is not waited for at all, as a loop's clock of milliseconds sees it."""


class Pace:
    """The decayed mean of the waits of each key, as this process saw them."""

    def __init__(self) -> None:
        self._means: LRUCache[int, float] = LRUCache(MOST_KEYS)

    def note(self, key_id: int, seconds: float) -> None:
        """A caller of this key waited so long."""
        waited = max(SHORTEST_SECONDS, seconds)
        before = self._means.get(key_id, waited)
        self._means[key_id] = before + WEIGHT * (waited - before)

    def seconds(self, key_id: int) -> float:
        """How long a wait of this key takes, never 0; a guess before the first."""
        return self._means.get(key_id, FIRST_GUESS_SECONDS)

    def per_second(self, key_id: int, places: int) -> float:
        """How many of so many sync places of this key come free in a second."""
        return max(1, places) / self.seconds(key_id)
