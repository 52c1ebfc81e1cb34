"""Endpoints: how many deliveries each may have under way, so that none feels another. Pure.

One that answers may have more and more at once. One that failed last is in a *ward*, one that was
never heard of in another: there it has few at once, and all of those together a part of the places,
half of that for one key. So however many endpoints are dead, those that answer, those that are new
and those of other keys have room. Places go to the key that has fewest first.
"""

import heapq
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeVar

PLACES = 512
"""Deliveries under way at once, in a worker."""
WARD = PLACES // 4
"""Of those to endpoints that failed last; as many to endpoints that were never heard of."""
FIRST = 4
"""At once to one nobody has heard from yet; in a ward none has more."""
MOST = 64
"""At once to one that always answers."""
REMEMBERED = 10_000
"""Endpoints of which it is known how they did last; of others nothing was heard lately."""
Name = TypeVar("Name", bound=Hashable)


class Wish(NamedTuple):
    """An endpoint that has deliveries due."""

    endpoint: int
    key_id: int


class Grant(NamedTuple):
    """An endpoint that may have so many more under way."""

    endpoint: int
    places: int


class _Repute(Enum):
    """What an endpoint's last delivery says of it."""

    SOUND = "sound"
    AILING = "ailing"
    UNHEARD = "unheard"


@dataclass(slots=True)
class _Standing:
    key_id: int
    running: int = 0
    allowed: int = FIRST
    repute: _Repute = _Repute.UNHEARD


class _Taken:
    """Places that are taken: by key, by repute, by both."""

    def __init__(self) -> None:
        self.keys: Counter[int] = Counter()
        self.wards: Counter[_Repute] = Counter()
        self._shares: Counter[tuple[_Repute, int]] = Counter()

    def copy(self) -> "_Taken":
        """For what is not taken yet."""
        same = _Taken()
        same.keys, same.wards = self.keys.copy(), self.wards.copy()
        same._shares = self._shares.copy()
        return same

    def count(self, standing: _Standing, more: int) -> None:
        """So many more, or fewer, of an endpoint that stands so."""
        _add(self.keys, standing.key_id, more)
        _add(self.wards, standing.repute, more)
        _add(self._shares, (standing.repute, standing.key_id), more)

    def share(self, standing: _Standing) -> int:
        """What this endpoint's key has of those of the same repute."""
        return self._shares[standing.repute, standing.key_id]


class Endpoints:
    """What is under way to each endpoint, and what each may bear."""

    def __init__(
        self, *, places: int = PLACES, ward: int = WARD, remembered: int = REMEMBERED
    ) -> None:
        self._places = places
        self._ward = ward
        self._remembered = remembered
        self._known: dict[int, _Standing] = {}
        self._taken = _Taken()

    @property
    def free(self) -> int:
        """How many more may be under way in all."""
        return self._places - self._taken.wards.total()

    def allot(self, wishes: Iterable[Wish], *, most: int) -> list[Grant]:
        """How many more each of these may have, `most` in all.

        One by one, to the key that has fewest, and of its endpoints to that. Nothing is taken yet:
        that is for `began`.
        """
        asked = {wish.endpoint: wish for wish in wishes}
        taken = self._taken.copy()
        given: Counter[int] = Counter()
        queue = [
            (taken.keys[wish.key_id], self._of(wish).running, n, wish)
            for n, wish in enumerate(asked.values())
        ]
        heapq.heapify(queue)
        for _ in range(min(self.free, most)):
            wish = self._next(queue, taken, given)
            if wish is None:
                break
            taken.count(self._of(wish), 1)
            given[wish.endpoint] += 1
        return [Grant(*grant) for grant in given.items()]

    def _next(
        self, queue: list[tuple[int, int, int, Wish]], taken: _Taken, given: Counter[int]
    ) -> Wish | None:
        """Who gets the next place. Entries are corrected when they come up: counts only grow."""
        while queue:
            had, own, n, wish = queue[0]
            standing = self._of(wish)
            running = standing.running + given[wish.endpoint]
            if running >= self._bound(standing, taken):
                heapq.heappop(queue)
            elif (had, own) != (taken.keys[wish.key_id], running):
                heapq.heapreplace(queue, (taken.keys[wish.key_id], running, n, wish))
            else:
                return wish
        return None

    def _bound(self, standing: _Standing, taken: _Taken) -> int:
        """How many this endpoint may have, with so many taken."""
        if standing.repute is _Repute.SOUND:
            return standing.allowed
        ward, share = taken.wards[standing.repute], taken.share(standing)
        whole, half = self._ward, max(1, self._ward // 2)
        if ward >= whole or share >= half:
            return 0
        if standing.repute is _Repute.UNHEARD and (ward >= half or 2 * share >= half):
            return 1  # what is left is for those that have none
        return min(FIRST, standing.allowed)

    def began(self, endpoint: int, key_id: int) -> None:
        """A delivery to it is under way."""
        standing = self._known.pop(endpoint, None) or _Standing(key_id)
        self._known[endpoint] = standing  # the last one used is the last forgotten
        standing.running += 1
        self._taken.count(standing, 1)
        if len(self._known) > self._remembered:
            self._forget()

    def ended(self, endpoint: int, *, acknowledged: bool | None) -> None:
        """A delivery to it is over; None when that says nothing of it."""
        standing = self._known[endpoint]
        self._taken.count(standing, -standing.running)
        standing.running -= 1
        if acknowledged is not None:
            _learn(standing, acknowledged=acknowledged)
        self._taken.count(standing, standing.running)

    def _of(self, wish: Wish) -> _Standing:
        return self._known.get(wish.endpoint) or _Standing(wish.key_id)

    def _forget(self) -> None:
        """The one used longest ago that has nothing under way."""
        idle = (name for name, standing in self._known.items() if not standing.running)
        if (oldest := next(idle, None)) is not None:
            del self._known[oldest]


def _learn(standing: _Standing, *, acknowledged: bool) -> None:
    if acknowledged:
        standing.repute, standing.allowed = _Repute.SOUND, min(MOST, standing.allowed + 1)
    else:
        standing.repute, standing.allowed = _Repute.AILING, max(1, standing.allowed // 2)


def _add(counter: Counter[Name], name: Name, more: int) -> None:
    """Names that count nothing are not kept."""
    counter[name] += more
    if not counter[name]:
        del counter[name]
