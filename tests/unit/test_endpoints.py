"""Endpoints: how many deliveries each may have under way, so that none feels another."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.endpoints import FIRST, MOST, Endpoints, Wish

PLACES, WARD = 64, 20


def endpoints(**named):
    return Endpoints(places=PLACES, ward=WARD, **named)


def begin(ends: Endpoints, wishes, *, most: int = PLACES) -> Counter[int]:
    """All that is allotted has begun."""
    given_ = Counter(dict(ends.allot(wishes, most=most)))
    keys = {wish.endpoint: wish.key_id for wish in wishes}
    for endpoint, places in given_.items():
        for _ in range(places):
            ends.began(endpoint, keys[endpoint])
    return given_


def heal(ends: Endpoints, wish: Wish, times: int = 1) -> None:
    """So many of its deliveries were acknowledged."""
    for _ in range(times):
        ends.began(*wish)
        ends.ended(wish.endpoint, acknowledged=True)


def test_one_nobody_has_heard_from_gets_a_few():
    """Whoever it is: a flood of events is no reason to flood it."""
    assert begin(endpoints(), [Wish(1, 1)]) == {1: FIRST}


def test_one_that_answers_gets_more_and_more_up_to_a_bound():
    """Each acknowledgement allows one more."""
    ends = Endpoints()
    heal(ends, Wish(1, 1), 3)
    assert begin(ends, [Wish(1, 1)], most=500) == {1: FIRST + 3}
    other = Endpoints()
    heal(other, Wish(1, 1), 1_000)
    assert begin(other, [Wish(1, 1)], most=500) == {1: MOST}


def test_one_that_fails_is_asked_less_and_less_but_always_something():
    """It halves with each failure, and one at a time finds out whether it is back."""
    ends = endpoints()
    heal(ends, Wish(1, 1), 20)
    for left in (4, 4, 3, 1, 1):
        ends.began(1, 1)
        ends.ended(1, acknowledged=False)
        now = ends.allot([Wish(1, 1)], most=PLACES)
        assert dict(now) == {1: left}, left


def ail(ends: Endpoints, wish: Wish) -> None:
    """One of its deliveries failed."""
    ends.began(*wish)
    ends.ended(wish.endpoint, acknowledged=False)


def test_dead_endpoints_share_a_ward_and_leave_the_rest_to_the_others():
    """However many failed, and however long each takes to be silent."""
    ends = endpoints()
    heal(ends, Wish(99, 99), 100)
    dead = [Wish(n, n) for n in range(50)]
    for wish in dead:
        ail(ends, wish)
    assert begin(ends, dead).total() == WARD
    assert begin(ends, dead) == {}
    assert begin(ends, [*dead, Wish(98, 98)]) == {98: FIRST}
    assert begin(ends, [*dead, Wish(99, 99)]) == {99: PLACES - WARD - FIRST}


def test_those_nobody_has_heard_from_share_a_ward_of_their_own():
    """Silent ones may be as many as they like: the sound have the rest."""
    ends = endpoints()
    heal(ends, Wish(99, 99), 100)
    silent = [Wish(n, n) for n in range(50)]
    assert begin(ends, silent).total() == WARD
    assert begin(ends, silent) == {}
    assert begin(ends, [*silent, Wish(99, 99)]) == {99: PLACES - WARD}


@pytest.mark.parametrize("heard", [False, True], ids=["silent", "failed"])
def test_a_key_has_half_a_ward_at_most(heard):
    """However many of its endpoints are silent or dead, those of another key have the rest."""
    ends = endpoints()
    sick = [Wish(n, n // 50) for n in range(100)]
    for wish in sick if heard else ():
        ail(ends, wish)
    of_one, of_other = sick[:50], sick[50:]
    assert begin(ends, of_one).total() == WARD // 2
    assert begin(ends, [*of_one, *of_other]).keys() <= {wish.endpoint for wish in of_other}
    assert ends.free == PLACES - WARD


def test_a_new_endpoint_has_room_beside_new_ones_that_are_silent():
    """Of its own key, too: where there are many each has one place, not a few."""
    ends = endpoints()
    silent = [Wish(n, 1) for n in range(WARD // 2 - 1)]
    assert begin(ends, silent) == dict.fromkeys(range(WARD // 2 - 1), 1)
    assert begin(ends, [*silent, Wish(98, 1), Wish(99, 2)]) == {98: 1, 99: 1}


def test_a_delivery_that_was_never_sent_says_nothing_of_its_endpoint():
    """Our own trouble is not held against it."""
    ends = endpoints()
    heal(ends, Wish(1, 1), 8)
    ends.began(1, 1)
    ends.ended(1, acknowledged=None)
    assert begin(ends, [Wish(1, 1)]) == {1: FIRST + 8}


def test_places_go_to_the_key_that_has_fewest():
    """Many endpoints of one key do not outweigh one of another."""
    ends = endpoints()
    wishes = [*(Wish(n, 1) for n in range(9)), Wish(10, 2)]
    for wish in wishes:
        heal(ends, wish, 50)
    shared = begin(ends, wishes, most=20)
    assert shared[10] == 10
    assert shared.total() == 20


def test_endpoints_of_a_key_share_its_places():
    """One with a backlog does not keep the others waiting."""
    ends = endpoints()
    wishes = [Wish(n, 1) for n in range(4)]
    for wish in wishes:
        heal(ends, wish, 50)
    begin(ends, wishes[:1], most=20)
    assert begin(ends, wishes, most=18) == {1: 6, 2: 6, 3: 6}


def test_no_more_than_asked_for_nor_than_there_are_places():
    """`most` bounds a claim; what is under way bounds all."""
    ends = endpoints()
    heal(ends, Wish(1, 1), 100)
    assert begin(ends, [Wish(1, 1)], most=7) == {1: 7}
    assert begin(ends, [Wish(1, 1)], most=500) == {1: PLACES - 7}
    assert ends.free == 0
    assert ends.allot([Wish(1, 1), Wish(2, 2)], most=500) == []


def test_only_so_many_are_remembered_and_none_that_is_busy_is_forgotten():
    """One that is forgotten begins anew."""
    ends = endpoints(remembered=3)
    ends.began(1, 1)
    for n in range(2, 9):
        heal(ends, Wish(n, n), 20)
    ends.ended(1, acknowledged=True)
    assert begin(ends, [Wish(2, 2)]) == {2: FIRST}
    assert begin(ends, [Wish(8, 8)]) == {8: FIRST + 20}


@given(
    st.lists(st.tuples(st.integers(1, 6), st.sampled_from([True, False, None])), max_size=80),
    st.integers(1, PLACES),
)
def test_what_is_counted_is_what_is_under_way(ends_so, most):
    """After any history places, wards and shares are those of a recount."""
    ends = endpoints()
    running: Counter[int] = Counter()
    sound: dict[int, bool] = {}
    wishes = [Wish(n, n % 2) for n in range(1, 7)]
    for endpoint, acknowledged in ends_so:
        running += begin(ends, wishes, most=3)
        if running[endpoint]:
            running[endpoint] -= 1
            ends.ended(endpoint, acknowledged=acknowledged)
            if acknowledged is not None:
                sound[endpoint] = acknowledged
        assert ends.free == PLACES - running.total()
    unheard = sum(n for endpoint, n in running.items() if endpoint not in sound)
    fresh = begin(ends, [Wish(n, n) for n in range(100, 200)], most=most)
    assert fresh.total() == max(0, min(most, PLACES - running.total(), WARD - unheard))
