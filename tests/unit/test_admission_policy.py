import math

from hypothesis import given
from hypothesis import strategies as st

from admission.demand import Demand
from admission.policy import LONGEST_WAIT_SECONDS, Usage, decide, headroom, retry_after
from admission.refusals import Admitted, Refusal, RefusalCode, Watch

places = st.integers(0, 10_000)
rates = st.floats(0, 10_000)
usages = st.builds(Usage, depth=places, capacity=places, drain_per_second=rates)


@given(usages)
def test_headroom_is_exactly_what_is_admitted(usage):
    """A demand of the headroom is admitted and one place more is refused."""
    room = headroom(usage)
    assert room >= 0
    assert isinstance(decide(Demand(1, room + 1), usage), Refusal)
    if room:
        assert decide(Demand(1, room), usage) == Admitted(usage.depth + room)


@given(usages, st.integers(1, 1000))
def test_what_is_admitted_never_passes_the_capacity(usage, asked):
    """The depth after a yes is within the capacity; a no takes nothing and says why."""
    match decide(Demand(1, asked), usage):
        case Admitted(depth):
            assert depth == usage.depth + asked
            assert depth <= usage.capacity
        case Refusal() as refusal:
            assert usage.depth + asked > usage.capacity
            assert refusal.code is RefusalCode.QUEUE_CAPACITY_EXCEEDED
            assert refusal.watch is Watch.ADMISSION_QUEUE
            assert refusal.limit == usage.capacity
            assert refusal.current == usage.depth
            assert refusal.requested == asked
            assert 1 <= refusal.retry_after_seconds <= LONGEST_WAIT_SECONDS


@given(st.integers(1, 10**9), rates | st.just(math.inf) | st.floats(-1, 0))
def test_a_retry_is_asked_for_within_a_minute(missing, rate):
    """Whatever is missing at whatever rate, the wait is whole seconds from 1 to 60."""
    seconds = retry_after(missing, rate)
    assert isinstance(seconds, int)
    assert 1 <= seconds <= 60


@given(st.integers(1, 1000), st.integers(0, 1000), st.floats(0.01, 1000))
def test_more_missing_never_means_a_shorter_wait(missing, more, rate):
    """The wait grows with what is missing."""
    assert retry_after(missing + more, rate) >= retry_after(missing, rate)


def test_the_wait_follows_the_measured_rate():
    """Ten missing at two a second take five; a standing queue is worth a look after 15 s."""
    assert retry_after(10, 2.0) == 5
    assert retry_after(1, 1000.0) == 1
    assert retry_after(1000, 0.001) == 60
    assert retry_after(1, 0.0) == 15
