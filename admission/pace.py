"""How long sync callers of a key have waited lately, for an honest `Retry-After`."""

from cachetools import LRUCache

MOST_KEYS = 10_000
WEIGHT = 0.2
"""Of the newest wait in the mean."""
FIRST_GUESS_SECONDS = 2.0


class Pace:
    """The decayed mean of the waits of each key, as this process saw them."""

    def __init__(self) -> None:
        self._means: LRUCache[int, float] = LRUCache(MOST_KEYS)

    def note(self, key_id: int, seconds: float) -> None:
        """A caller of this key waited so long."""
        before = self._means.get(key_id, seconds)
        self._means[key_id] = before + WEIGHT * (seconds - before)

    def seconds(self, key_id: int) -> float:
        """How long a wait of this key takes; a guess before the first."""
        return self._means.get(key_id, FIRST_GUESS_SECONDS)
