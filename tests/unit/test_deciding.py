"""What those who share a transaction are answered."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from admission.budget import Budget, Unaffordable
from admission.deciding import (
    Ask,
    Blocked,
    Deciding,
    Item,
    Known,
    Overpriced,
    Repeated,
    Stored,
)
from admission.demand import Demand
from admission.places import Places
from admission.policy import Usage
from admission.refusals import Refusal

KEY = 1
RESERVED = UUID(int=7)

names = st.none() | st.sampled_from("abc")
items = st.builds(
    lambda name, body, cost, price: Item(
        Demand(KEY, idempotency_key=name, credits=cost, most_credits=price), (name, body)
    ),
    names,
    st.integers(0, 1),
    st.integers(0, 2),
    st.none() | st.integers(0, 2),
)
asks = st.builds(Ask, st.lists(items, min_size=1, max_size=6), st.booleans(), st.booleans())


def again(stored, entry):
    return Known(stored, open=True, same=stored == entry)


def deciding(**usage):
    places = Places({KEY: Usage(**{"waiting": 0, "capacity": 5, **usage})})
    return Deciding(places, again), places


def plain(n, **demand):
    return [Item(Demand(KEY, **demand), number) for number in range(n)]


def ask(door, items, *, whole=False, roomy=False, known=()):
    padded = [*known, *[None] * (len(items) - len(known))]
    return door.answer(Ask(items, whole, roomy), padded)


@given(st.lists(asks, max_size=6), st.integers(0, 9))
def test_no_order_of_asks_takes_more_than_there_is(asked, capacity):
    """Whole or each by itself: what is stored fits, each name once, the whole whole or not."""
    door, _ = deciding(capacity=capacity)
    for one in asked:
        before = len(door.stored)
        answer = ask(door, one.items, whole=one.whole, roomy=one.roomy)
        stored = answer.decisions.count(Stored())
        assert len(door.stored) == before + stored
        if one.roomy:
            assert Refusal not in map(type, answer.decisions)
        if one.whole:
            refused = answer.none is not None
            assert refused == (answer.decisions == ())
            assert {type(decision) for decision in answer.decisions} <= {Stored, Repeated}
    assert len(door.stored) <= capacity
    named = [name for name, _ in door.stored if name]
    assert len(named) == len(set(named))


def test_a_whole_ask_says_how_many_places_it_needs():
    """Those that are there already need none; the refusal is about what is new."""
    door, places = deciding(capacity=5, waiting=3)
    items = plain(4)
    answer = ask(door, items, whole=True, known=[Known("before", open=False)])
    assert isinstance(answer.none, Refusal)
    assert (answer.none.requested, answer.none.current) == (3, 3)
    assert door.stored == []
    assert list(places.promised()) == [KEY]
    answer = ask(door, items[:3], whole=True, known=[Known("before", open=False)])
    assert answer.decisions == [Repeated("before", waits=False), Stored(), Stored()]


def test_a_roomy_ask_finds_room_for_all_that_would_be_stored():
    """Or stores none; replays, what is too dear and what cannot be paid want none."""
    budget = Budget(credits=2)
    door, places = deciding(capacity=2, waiting=0, budget=budget)
    items = [*plain(1), *plain(1, credits=3, most_credits=2), *plain(3, credits=1)]
    known = [Known("before", open=False)]
    answer = ask(door, items, roomy=True, known=known)
    assert answer.decisions == [
        *(Repeated("before", waits=False), Overpriced(3, 2), Stored(), Stored()),
        Unaffordable(1, 0),
    ]
    door, places = deciding(capacity=1, budget=budget)
    answer = ask(door, items, roomy=True, known=known)
    assert isinstance(answer.none, Refusal)
    assert (answer.none.requested, answer.decisions, door.stored) == (2, (), [])
    assert list(places.promised()) == []
    assert ask(door, items[:3], roomy=True, known=known).decisions[2] == Stored()


def test_a_whole_ask_is_paid_whole():
    """Or refused for what lacks, before the room is looked at."""
    door, _ = deciding(capacity=0, budget=Budget(credits=2))
    assert ask(door, plain(3, credits=1), whole=True).none == Unaffordable(3, 2)
    assert isinstance(ask(door, plain(2, credits=1), whole=True).none, Refusal)


def test_what_can_never_fit_is_promised_nothing():
    """Places that will never be free together are not kept from others."""
    door, places = deciding(capacity=5)
    assert isinstance(ask(door, plain(6), whole=True).none, Refusal)
    assert places.promised() == {}


def test_a_whole_ask_stops_at_its_first_fault():
    """A name that stands for something else and a price too high name their place."""
    door, _ = deciding()
    other = Known("before", open=False, same=False)
    answer = ask(door, plain(3), whole=True, known=[None, other])
    assert answer.none == Blocked(1, Repeated("before", waits=False))
    dear = [*plain(2), *plain(1, credits=3, most_credits=2)]
    assert ask(door, dear, whole=True).none == Blocked(2, Overpriced(3, 2))
    assert door.stored == []


def test_a_price_is_asked_after_a_replay_and_before_the_room():
    """What is there already costs nothing; what is too dear is not said to be full."""
    door, _ = deciding(capacity=0)
    items = plain(2, credits=3, most_credits=2)
    answer = ask(door, items, known=[Known("before", open=False)])
    assert answer.decisions == [Repeated("before", waits=False), Overpriced(3, 2)]


def test_a_name_met_twice_is_the_first_ones():
    """In one ask or in two of a transaction; of one that was refused nothing is remembered."""
    door, _ = deciding(capacity=1)
    named = [Item(Demand(KEY, idempotency_key="k"), entry) for entry in ("one", "one", "two")]
    answer = ask(door, named)
    again = Repeated("one", waits=False)
    assert answer.decisions == [Stored(), again, again]
    assert ask(door, named[:1]).decisions == [again]
    full = Item(Demand(KEY, idempotency_key="l"), "three")
    assert [type(one) for one in ask(door, [full, full]).decisions] == [Refusal, Refusal]


def test_the_same_name_of_two_keys_is_two():
    """Names are a key's own."""
    places = Places({1: Usage(waiting=0, capacity=1), 2: Usage(waiting=0, capacity=1)})
    door = Deciding(places, again)
    for key in (1, 2):
        item = Item(Demand(key, idempotency_key="k"), "one")
        assert ask(door, [item]).decisions == [Stored()]


def test_a_caller_waits_for_what_was_stored_a_moment_before_if_there_is_a_sync_place():
    """One joins the new entry, the next finds no place and is only told of it."""
    door, _ = deciding(sync_limit=1)
    first = Item(Demand(KEY, idempotency_key="k"), "one")
    waits = Item(Demand(KEY, places=0, callers=1, idempotency_key="k"), "one")
    assert ask(door, [first]).decisions == [Stored()]
    assert ask(door, [waits]).decisions == [Repeated("one", waits=True)]
    assert ask(door, [waits]).decisions == [Repeated("one", waits=False)]
    assert door.joined == [("one", "one")]


def test_a_reservation_is_drawn_on_and_what_is_left_is_said():
    """Whole or item by item; one that does not live has nothing left to say."""
    door, places = deciding(capacity=5, waiting=2, reservations={RESERVED: 3})
    assert isinstance(ask(door, plain(4, reservation=RESERVED), whole=True).none, Refusal)
    assert places.drawn() == {}
    assert ask(door, plain(2, reservation=RESERVED), whole=True).reserved == 1
    answer = ask(door, plain(2, reservation=RESERVED))
    assert answer.reserved == 0
    assert [type(one) for one in answer.decisions] == [Stored, Refusal]
    assert places.drawn() == {RESERVED: 0}
    assert ask(door, plain(1, reservation=RESERVED)).reserved is None
    assert ask(door, plain(9, reservation=RESERVED), whole=True).reserved is None
    assert ask(door, plain(1, reservation=UUID(int=8))).reserved is None
    assert ask(door, plain(1)).reserved is None


def test_who_waits_for_what_is_there_pays_nothing():
    """It was paid when it came in; what comes beside it finds all that is free."""
    door, _ = deciding(sync_limit=8, budget=Budget(5))
    asked = [Item(Demand(KEY, callers=1, credits=5), 1), Item(Demand(KEY, credits=5), 2)]
    answer = ask(door, asked, known=[Known("before", open=True, same=True)])
    assert answer.decisions == [Repeated("before", waits=True), Stored()]
