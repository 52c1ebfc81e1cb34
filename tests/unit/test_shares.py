import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.shares import least, shares

weights = st.sets(st.integers(1, 60), min_size=1, max_size=5)


@st.composite
def workers(draw):
    """The weights a worker serves, and slots enough for them."""
    served = draw(weights)
    return least(served) + draw(st.integers(0, 500)), served


@given(workers())
def test_no_share_passes_the_slots_and_none_is_empty(worker):
    """All children that may run at once fit the worker; each weight has room for one."""
    slots, served = worker
    running = shares(slots, served)
    assert running.keys() == served
    assert min(running.values()) >= 1
    assert sum(weight * n for weight, n in running.items()) <= slots


@given(workers())
def test_no_slot_lies_idle_that_the_lightest_could_use(worker):
    """What one weight leaves goes to the lighter ones."""
    slots, served = worker
    left = slots - sum(weight * n for weight, n in shares(slots, served).items())
    assert left < min(served)


@given(workers())
def test_light_surfaces_keep_three_quarters(worker):
    """But for what the heavy ones cannot do without."""
    slots, served = worker[0] + 1, worker[1] | {1}
    assert shares(slots, served)[1] >= min(slots * 3 // 4, slots - least(served - {1}))


@pytest.mark.parametrize(
    ("slots", "served", "expected"),
    [
        (256, {1}, {1: 256}),
        (256, {1, 2}, {1: 192, 2: 32}),
        (256, {2}, {2: 128}),
        (256, {2, 8}, {2: 64, 8: 16}),
        (256, {1, 2, 8}, {1: 192, 2: 16, 8: 4}),
        (64, {1, 2, 50}, {1: 12, 2: 1, 50: 1}),
        (100, {3, 7}, {3: 17, 7: 7}),
        (5, {1, 4}, {1: 1, 4: 1}),
    ],
)
def test_heavy_surfaces_get_a_quarter_split_evenly(slots, served, expected):
    """All of the worker where nothing light is served; at least one child of each weight."""
    assert shares(slots, served) == expected
