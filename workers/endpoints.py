"""Endpoints: how many deliveries each may have under way, so that none feels another. Pure.

One that answers may have more and more at once. One that failed last, or was never heard of, is in
the *ward*: it has few at once, and all of those together a part of the places, so that however many
endpoints are dead the others always have room. Places go to the key that has fewest first.
"""

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

PLACES = 512
"""Deliveries under way at once, in a worker."""
WARD = PLACES // 4
FIRST = 4
"""At once to one nobody has heard from yet; in the ward none has more."""
MOST = 64
"""At once to one that always answers."""
REMEMBERED = 10_000
"""Endpoints of which it is known how they did last; of others nothing was heard lately."""


class Wish(NamedTuple):
    """An endpoint that has deliveries due."""

    endpoint: int
    key_id: int


class Grant(NamedTuple):
    """An endpoint that may have so many more under way."""

    endpoint: int
    places: int


@dataclass(slots=True)
class _Standing:
    key_id: int
    running: int = 0
    allowed: int = FIRST
    sound: bool = False
    """Its last delivery was acknowledged."""


class Endpoints:
    """What is under way to each endpoint, and what each may bear."""

    def __init__(
        self, *, places: int = PLACES, ward: int = WARD, remembered: int = REMEMBERED
    ) -> None:
        self._places = places
        self._ward = ward
        self._remembered = remembered
        self._known: dict[int, _Standing] = {}
        self._running = 0
        self._ailing = 0
        self._per_key: Counter[int] = Counter()

    @property
    def free(self) -> int:
        """How many more may be under way in all."""
        return self._places - self._running

    def allot(self, wishes: Iterable[Wish], *, most: int) -> list[Grant]:
        """How many more each of these may have, `most` in all.

        One by one, to the key that has fewest, and of its endpoints to that. Nothing is taken yet:
        that is for `began`.
        """
        asked = {wish.endpoint: wish for wish in wishes}
        per_key = self._per_key.copy()
        given: Counter[int] = Counter()
        queue = [
            (per_key[wish.key_id], self._of(wish).running, n, wish)
            for n, wish in enumerate(asked.values())
        ]
        heapq.heapify(queue)
        ward = self._ward - self._ailing
        for _ in range(min(self.free, most)):
            wish = self._next(queue, per_key, given, ward)
            if wish is None:
                break
            ward -= not self._of(wish).sound
            per_key[wish.key_id] += 1
            given[wish.endpoint] += 1
        return [Grant(*grant) for grant in given.items()]

    def _next(
        self,
        queue: list[tuple[int, int, int, Wish]],
        per_key: Counter[int],
        given: Counter[int],
        ward: int,
    ) -> Wish | None:
        """Who gets the next place. Entries are corrected when they come up: counts only grow."""
        while queue:
            had, own, n, wish = queue[0]
            standing = self._of(wish)
            running = standing.running + given[wish.endpoint]
            if running >= self._bound(standing) or (not standing.sound and ward <= 0):
                heapq.heappop(queue)
            elif (had, own) != (per_key[wish.key_id], running):
                heapq.heapreplace(queue, (per_key[wish.key_id], running, n, wish))
            else:
                return wish
        return None

    def began(self, endpoint: int, key_id: int) -> None:
        """A delivery to it is under way."""
        standing = self._known.pop(endpoint, None) or _Standing(key_id)
        self._known[endpoint] = standing  # the last one used is the last forgotten
        standing.running += 1
        self._count(standing, 1)
        if len(self._known) > self._remembered:
            self._forget()

    def ended(self, endpoint: int, *, acknowledged: bool | None) -> None:
        """A delivery to it is over; None when that says nothing of it."""
        standing = self._known[endpoint]
        self._count(standing, -standing.running)
        standing.running -= 1
        if acknowledged is not None:
            self._learn(standing, acknowledged=acknowledged)
        self._count(standing, standing.running)

    def _learn(self, standing: _Standing, *, acknowledged: bool) -> None:
        standing.sound = acknowledged
        standing.allowed = (
            min(MOST, standing.allowed + 1) if acknowledged else max(1, standing.allowed // 2)
        )

    def _of(self, wish: Wish) -> _Standing:
        return self._known.get(wish.endpoint) or _Standing(wish.key_id)

    def _bound(self, standing: _Standing) -> int:
        return standing.allowed if standing.sound else min(FIRST, standing.allowed)

    def _count(self, standing: _Standing, more: int) -> None:
        self._running += more
        self._ailing += 0 if standing.sound else more
        self._per_key[standing.key_id] += more
        if not self._per_key[standing.key_id]:
            del self._per_key[standing.key_id]

    def _forget(self) -> None:
        """The one used longest ago that has nothing under way."""
        idle = (name for name, standing in self._known.items() if not standing.running)
        if (oldest := next(idle, None)) is not None:
            del self._known[oldest]
