"""What the gate answers those who share a transaction: each meets what those before it took."""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from admission.budget import Short
from admission.demand import Demand
from admission.places import Places
from admission.refusals import Refusal

Entry = TypeVar("Entry")
Prior = TypeVar("Prior")
Named = dict[tuple[int, str], Entry]


class Stored(NamedTuple):
    """The demand is admitted, and its entry stored, durably."""


class Known(NamedTuple, Generic[Prior]):
    """An earlier entry of the same idempotency key; `open` says that a caller may wait for it.

    `same`: it asks for the same; otherwise the key stands for something else.
    """

    prior: Prior
    open: bool
    same: bool = True


class Repeated(NamedTuple, Generic[Prior]):
    """Nothing was stored: the earlier entry stands. `waits`: the caller has a sync place."""

    prior: Prior
    waits: bool


class Overpriced(NamedTuple):
    """Nothing was stored: it may cost `estimated` credits, and `most` are allowed."""

    estimated: int
    most: int


class Blocked(NamedTuple, Generic[Prior]):
    """Nothing was stored of what was to be stored whole: the entry at this place cannot be."""

    place: int
    by: Repeated[Prior] | Overpriced


Decision = Stored | Repeated[Prior] | Overpriced | Short | Refusal


class Item(NamedTuple, Generic[Entry]):
    """One entry and what it would take."""

    demand: Demand
    entry: Entry


class Ask(NamedTuple, Generic[Entry]):
    """Items one caller brings at once, all of one key and drawing on one reservation, if any.

    `whole`: all that are new are stored, or none. `roomy`: all that are new and can be paid for
    find room, or none is stored for the lack of it. Then no item has callers.
    """

    items: Sequence[Item[Entry]]
    whole: bool = False
    roomy: bool = False


class Answer(NamedTuple, Generic[Prior]):
    """The decision on each item; or why of what was to be stored whole there is `none`.

    `reserved` places are left of the reservation they named; None when there is none that lives.
    """

    decisions: Sequence[Decision[Prior]]
    reserved: int | None = None
    none: Blocked[Prior] | Short | Refusal | None = None


class Deciding(Generic[Entry, Prior]):
    """The decisions of one transaction, and the entries to store and to join at its end.

    `again` says what an entry stored in this transaction is to a later one of its idempotency key.
    """

    def __init__(self, places: Places, again: Callable[[Entry, Entry], Known[Prior]]) -> None:
        self.stored: list[Entry] = []
        self.joined: list[tuple[Entry, Prior]] = []
        self._places = places
        self._again = again
        self._named: Named[Entry] = {}

    def answer(self, ask: Ask[Entry], known: Sequence[Known[Prior] | None]) -> Answer[Prior]:
        """Decide the items of an ask; `known` has the earlier entry of each, stored before."""
        first = ask.items[0].demand
        lived = bool(self._places.reserved(first))  # one spent by an ask before is none to this one
        if ask.whole and (none := self._none(ask.items, known)) is not None:
            return Answer((), self._places.reserved(first) if lived else None, none)
        if ask.roomy and (none := self._no_room(ask.items, known)) is not None:
            return Answer((), self._places.reserved(first) if lived else None, none)
        take = self._store if ask.whole else self._take
        together = zip(ask.items, known, strict=True)
        decisions = [self._decide(item, before, take) for item, before in together]
        return Answer(decisions, self._places.reserved(first) if lived else None)

    def _decide(
        self,
        item: Item[Entry],
        known: Known[Prior] | None,
        take: Callable[[Item[Entry]], Stored | Short | Refusal],
    ) -> Decision[Prior]:
        before = known or self._before(item, self._named)
        if before is not None:
            return self._repeat(item, before)
        return _overpriced(item.demand) or take(item)

    def _take(self, item: Item[Entry]) -> Stored | Short | Refusal:
        demand = item.demand
        return self._places.short(demand) or self._places.take(demand) or self._store(item)

    def _store(self, item: Item[Entry]) -> Stored:
        self.stored.append(item.entry)
        self._note(item, self._named)
        return Stored()

    def _before(self, item: Item[Entry], named: Named[Entry]) -> Known[Prior] | None:
        """The entry of this transaction with the same idempotency key."""
        name = item.demand.name
        if name is None or (stored := named.get(name)) is None:
            return None
        return self._again(stored, item.entry)

    def _note(self, item: Item[Entry], named: Named[Entry]) -> None:
        if (name := item.demand.name) is not None:
            named[name] = item.entry

    def _repeat(self, item: Item[Entry], known: Known[Prior]) -> Repeated[Prior]:
        """A replay takes no place; it may wait if a sync place is free."""
        if not known.open or not item.demand.callers:
            return Repeated(known.prior, waits=False)
        if not self._places.attend(item.demand):
            return Repeated(known.prior, waits=False)
        self.joined.append((item.entry, known.prior))
        return Repeated(known.prior, waits=True)

    def _none(
        self, items: Sequence[Item[Entry]], known: Sequence[Known[Prior] | None]
    ) -> Blocked[Prior] | Short | Refusal | None:
        """Take the places of all that are new, or say why none of them is stored."""
        named = dict(self._named)
        whole = items[0].demand._replace(places=0, cells=0, credits=0)
        for place, (item, stored) in enumerate(zip(items, known, strict=True)):
            before = stored or self._before(item, named)
            if before is None:
                if too_much := _overpriced(item.demand):
                    return Blocked(place, too_much)
                whole = _together(whole, item.demand)
                self._note(item, named)
            elif not before.same:
                return Blocked(place, Repeated(before.prior, waits=False))
        if not whole.places:
            return None
        return self._places.short(whole) or self._places.take(whole)

    def _no_room(
        self, items: Sequence[Item[Entry]], known: Sequence[Known[Prior] | None]
    ) -> Refusal | None:
        """Why those that would be stored do not all find room; if they do nothing is taken yet."""
        named = dict(self._named)
        whole = items[0].demand._replace(places=0, cells=0, credits=0)
        for item, stored in zip(items, known, strict=True):
            if (stored or self._before(item, named)) is not None or _overpriced(item.demand):
                continue
            more = _together(whole, item.demand)
            if self._places.short(more) is None:
                whole = more
                self._note(item, named)
        return self._places.lacking(whole)


def _together(one: Demand, other: Demand) -> Demand:
    return one._replace(
        places=one.places + other.places,
        cells=one.cells + other.cells,
        credits=one.credits + other.credits,
    )


def _overpriced(demand: Demand) -> Overpriced | None:
    if demand.most_credits is None or demand.credits <= demand.most_credits:
        return None
    return Overpriced(demand.credits, demand.most_credits)
