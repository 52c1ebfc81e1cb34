"""The judge of the lanes sees what it is there to see."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.e2e import judging
from tests.e2e.judging import Call


def call(arrived, ended=None) -> Call:
    return Call(worker="one", query="tea", arrived=arrived, ended=ended)


def test_calls_at_once_are_those_that_overlap():
    """One that has not ended is still there; one that ends as another arrives is not."""
    assert judging.most_at_once([]) == 0
    assert judging.most_at_once([call(0, 1), call(1, 2), call(2)]) == 1
    assert judging.most_at_once([call(0, 9), call(1, 2), call(3), call(4, 5)]) == 3


def test_a_call_is_open_from_its_arrival_until_its_end():
    """Neither before nor after, and for ever when it never ended."""
    assert [call(1, 3).open_at(moment) for moment in (0, 1, 2, 3)] == [False, True, True, False]
    assert call(1).open_at(1000)


@pytest.mark.parametrize(
    ("starts", "rate", "beyond"),
    [
        ([0.0], 10, -9),
        ([0.0] * 10 + [1.0] * 10, 10, 0),
        ([0.0] * 11, 10, 1),
        ([5.0, 0.0, 5.1, 5.2], 2, 0.6),  # three in 0.2 s, whatever was before, in any order
        ([0.0, 0.5], 0.5, 0.75),  # slower than one a second: one, and then one every two seconds
        ([0.0, 2.0, 4.0], 0.5, 0),
    ],
)
def test_a_window_with_too_many_starts_is_found(starts, rate, beyond):
    """The worst one says by how many; a burst of a second's starts is within the rate."""
    assert judging.most_beyond(starts, rate) == pytest.approx(beyond)


@given(
    st.lists(st.floats(0, 10), min_size=2, max_size=30),
    st.floats(0.2, 20),
)
def test_no_window_is_worse_than_the_worst(starts, rate):
    """Any window between two starts has at most so many more than its rate allows."""
    worst = judging.most_beyond(starts, rate)
    for first in starts:
        for last in starts:
            inside = sum(first <= start <= last for start in starts)
            assert inside - max(1, rate) - rate * (last - first) <= worst + 1e-6 or last < first


@pytest.mark.parametrize(
    ("starts", "seconds", "share"),
    [
        ([0.0] + [2 + n / 8 for n in range(17)], 2, 0.8),
        ([0.0] * 9 + [1.0] * 9 + [2 + n / 8 for n in range(17)], 2, 0.8),
        ([0.0, 2.0, 3.0], 2, 0),
        ([], 2, 0),
    ],
)
def test_the_share_of_a_rate_that_is_used(starts, seconds, share):
    """Of ten a second; the first second does not count, and a window too short says nothing."""
    assert judging.best_share(starts, 10, seconds) == pytest.approx(share)
