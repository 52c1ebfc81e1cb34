"""Batches: several submissions in one, each by itself or all of them or none."""

from collections.abc import Mapping, Sequence
from itertools import permutations
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import rule

from admission.budget import Short, Unaffordable
from admission.refusals import Refusal
from orchestrator.domain.plan import encode
from orchestrator.submission import Accepted, Conflict, Outcomes, Replayed, Withheld
from tests.stateful.checks import Seen
from tests.stateful.deciding import Asked, fits, no_place
from tests.stateful.grouping import Grouping
from tests.stateful.prices import priced
from tests.stateful.records import Reserved
from tests.stateful.strategies import (
    Batch,
    Item,
    doors,
    gathered,
    indexes,
    names,
    picked,
    plans,
)

Lanes = Mapping[tuple[str, str], int]


unlike = st.lists(st.builds(Item, plans, st.none() | names), min_size=1, max_size=4)
items = unlike | unlike.map(lambda some: [*some, some[0]])
shapes = st.tuples(doors, indexes, items, st.booleans(), st.none() | indexes)


class Batching(Grouping):
    """As if its submissions had come one after the other, with nobody between them."""

    @rule(some=st.lists(shapes, min_size=1, max_size=2))
    def batch(self, some) -> None:
        """Alone, or two at the same moment through one or both doors."""
        batches = [self.shaped(shape) for shape in some]
        told = self.world.run(gathered(self.world.batch(one, self.surfaces) for one in batches))
        lanes = self.places()
        orders = permutations(zip(batches, told, strict=True))
        rows = next(filter(None, (_after(self.rows, order, lanes) for order in orders)), None)
        assert rows is not None, (self.rows, batches, told)
        self.rows = rows

    def shaped(self, shape: tuple[int, int, list[Item], bool, int | None]) -> Batch:
        """One that draws is of the key whose reservation it is, or of another now and then."""
        door, index, some, whole, drawn = shape
        held = picked(sorted(self.rows.reservations), [] if drawn is None else [drawn])
        keys = {key.id: key for key in self.keys}
        owners = [keys[self.rows.reservations[one].key] for one in held if index % 5]
        key = owners[0] if owners else self.key(index)
        return Batch(door, key, some, whole, held[0] if held else None)


def _after(rows: Seen, order: Sequence[tuple[Batch, Outcomes]], lanes: Lanes) -> Seen | None:
    """The rows after these batches, one after the other; None: they would be told otherwise."""
    for batch, told in order:
        found = _taken(rows, batch, told, lanes)
        if found is None:
            return None
        rows = found
    return rows


def _taken(rows: Seen, batch: Batch, told: Outcomes, lanes: Lanes) -> Seen | None:
    rows, lived = rows.copy(), _left(rows, batch)
    if batch.whole and told.none is not None:
        fit = not told.each and _refused(rows, batch, told.none)
        return rows if fit and told.reserved == (lived or None) else None
    if told.none is not None or (batch.whole and _none(rows, batch)):
        return None
    for item, one in zip(batch.items, told.each, strict=True):
        known = rows.named(batch.key.id, item.name)
        answer = _answer(rows, batch, item, known, one)
        if not fits(answer, one):
            return None
        if isinstance(one, Accepted):
            _store(rows, batch, item, one.parent, lanes)
    return rows if told.reserved == (_left(rows, batch) if lived else None) else None


def _answer(
    rows: Seen, batch: Batch, item: Item, known: UUID | None, told: object
) -> Accepted | Replayed | Conflict | Unaffordable | Refusal:
    if known:
        row = rows.parents[known]
        same = row.payload == encode(priced(item.plan))
        return Replayed(known, row.state, waits=False) if same else Conflict(known)
    if short := rows.short(batch.key.id, priced(item.plan).estimate):
        return short
    full = rows.full(batch.key.id, batch.key.limits) and not _left(rows, batch)
    if full and not batch.whole:
        return no_place(rows, batch.key)
    return told if isinstance(told, Accepted) else Accepted(UUID(int=0))


def _store(rows: Seen, batch: Batch, item: Item, parent: UUID, lanes: Lanes) -> None:
    cells = [lanes[cell.surface, cell.region.country] for cell in item.plan.cells()]
    asked = Asked(batch.key, item.plan, item.name, None, Accepted(parent))
    rows.admit(parent, asked.row(cells))
    if left := _left(rows, batch):
        rows.reservations[batch.reservation] = Reserved(batch.key.id, left - 1)


def _left(rows: Seen, batch: Batch) -> int:
    """What is left of the reservation, if the key has it."""
    held = rows.reservations.get(batch.reservation)
    return held.places if held and held.key == batch.key.id else 0


def _refused(rows: Seen, batch: Batch, none: Withheld | Short | Refusal) -> bool:
    """Whether this is why nothing was stored: a name that stands for another, or too little."""
    conflict = _conflict(rows, batch)
    if conflict is not None or isinstance(none, Withheld):
        return isinstance(none, Withheld) and none.place == conflict
    why = _none(rows, batch)
    return why is not None and fits(why, none)


def _none(rows: Seen, batch: Batch) -> Unaffordable | Refusal | None:
    """What there is too little of for all that is new: credits or room."""
    new, key = _new(rows, batch), batch.key
    if short := rows.short(key.id, sum(priced(item.plan).estimate for item in new)):
        return short
    return None if _has_room(rows, batch, len(new)) else no_place(rows, key, len(new))


def _conflict(rows: Seen, batch: Batch) -> int | None:
    """The place of the first item whose name stands for something else."""
    stands: dict[str, str | None] = {}
    for place, item in enumerate(batch.items):
        if item.name is None:
            continue
        known = rows.named(batch.key.id, item.name)
        asked = encode(priced(item.plan))
        stands.setdefault(item.name, rows.parents[known].payload if known else asked)
        if stands[item.name] != asked:
            return place
    return None


def _new(rows: Seen, batch: Batch) -> list[Item]:
    """Those it would store, where a name stands for one thing."""
    alike = {item.name or place: item for place, item in enumerate(batch.items)}
    return [item for item in alike.values() if rows.named(batch.key.id, item.name) is None]


def _has_room(rows: Seen, batch: Batch, new: int) -> bool:
    free = max(0, batch.key.limits.queue_capacity - rows.depth(batch.key.id))
    return new == 0 or new - min(new, _left(rows, batch)) <= free
