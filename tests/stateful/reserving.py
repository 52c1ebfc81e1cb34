"""Reservations: places held for submissions to come, until they are drawn, given back or expire."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from admission import reservations
from orchestrator.domain import ids
from tests.stateful import looking
from tests.stateful.batching import items
from tests.stateful.orders import RESERVED, GiveBack, Reserve
from tests.stateful.prices import COSTS
from tests.stateful.records import Reserved
from tests.stateful.spending import Spending
from tests.stateful.strategies import SMALL, Item, doors, indexes, picked

LASTING = "UPDATE reservation SET expires_at = now() + interval '1 day' WHERE id = %(id)s"
EXPIRED = "UPDATE reservation SET expires_at = now() - interval '1 s' WHERE id = %(id)s"
GONE = "SELECT count(*)::int FROM reservation WHERE expires_at < now()"


class Reserving(Spending):
    """The queue's places, some of them promised."""

    @rule(index=indexes, places=st.integers(1, 4))
    def reserve(self, index, places) -> None:
        """Held exactly when as many would be admitted; nobody else gets them."""
        key = self.key(index)
        told = self.steer(Reserve(key, places))
        free = key.limits.queue_capacity - self.rows.depth(key.id)
        short = self.rows.short(key.id, places * COSTS[RESERVED])
        if told.binding == "requestRate":
            assert told.reservation is None
            return
        assert (told.binding == "credits") == bool(short)
        assert told.admitted == (places <= free and not short)
        assert (told.reservation is not None) == told.admitted
        if told.reservation:
            held = ids.read_reservation(told.reservation.id)
            assert self.world.execute(LASTING, id=held) == 1
            self.rows.reservations[held] = Reserved(key.id, places)
        after = key.limits.queue_capacity - self.rows.depth(key.id)
        assert told.headroom.asynchronous == max(0, after)

    @rule(index=indexes, expired=st.booleans(), twice=st.booleans())
    def give_back(self, index, expired, twice) -> None:
        """Or it expires: its places are free at once, and it is gone."""
        for held in picked(sorted(self.rows.reservations), [index]):
            key = next(key for key in self.keys if key.id == self.rows.reservations[held].key)
            if expired:
                self.world.execute(EXPIRED, id=held)
            del self.rows.reservations[held]
            for lived in [not expired, False][: 1 + twice]:
                assert self.steer(GiveBack(key, held)) == lived

    @rule(index=indexes, most=st.sampled_from([1, 1000]))
    def forget_reservations(self, index, most) -> None:
        """Those that expired and no other; they did not count before either."""
        for held in picked(sorted(self.rows.reservations), [index]):
            self.world.execute(EXPIRED, id=held)
            del self.rows.reservations[held]
        ((gone,),) = self.bare(looking.rows, GONE)
        assert self.bare(reservations.forget_expired, most=most) == min(gone, most)

    @rule(index=indexes, places=st.integers(1, 3), door=doors, some=items, whole=st.booleans())
    def draw(self, index, places, door, some, whole) -> None:
        """Reserved, then filled up by others, and still there for who draws on it."""
        known = set(self.rows.reservations)
        self.reserve(index, places)
        for held in self.rows.reservations.keys() - known:
            place = sorted(self.rows.reservations).index(held)
            self.batch(
                [(door, index, [Item(SMALL)] * 5, False, None), (door, 1, some, whole, place)]
            )
