import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import retry
from workers.retry import LONGEST_SECONDS, Again, GiveUp, decide

attempts = st.integers(1, 1000)
chances = st.floats(0, 1, exclude_max=True)
asked = st.floats(0, 3600)


@given(attempts, attempts, asked, chances)
def test_a_permanent_failure_is_never_tried_again(attempt, most, floor, chance):
    """Permanent means give up, whatever is left."""
    assert (
        decide(
            attempt=attempt,
            most=most,
            permanent=True,
            floor_seconds=floor,
            chance=chance,
        )
        == GiveUp()
    )


@given(attempts, attempts, asked, chances)
def test_a_child_is_tried_as_often_as_it_may_be(attempt, most, floor, chance):
    """A transient failure is tried again exactly while attempts are left."""
    decision = decide(
        attempt=attempt,
        most=most,
        permanent=False,
        floor_seconds=floor,
        chance=chance,
    )
    assert isinstance(decision, Again) == (attempt < most)


@given(attempts, asked, chances)
def test_the_pause_has_a_ceiling_and_a_floor(attempt, floor, chance):
    """Full jitter below min(60, 2^(attempt - 1)) seconds, never less than the upstream asked."""
    again = decide(
        attempt=attempt,
        most=attempt + 1,
        permanent=False,
        floor_seconds=floor,
        chance=chance,
    )
    assert isinstance(again, Again)
    ceiling = min(LONGEST_SECONDS, 2.0 ** min(attempt - 1, 10))
    assert floor <= again.delay_seconds <= max(floor, ceiling)
    assert again.delay_seconds == max(floor, ceiling * chance)


def test_the_ceiling_doubles():
    """The middle of the jitter is 0.5, 1, 2, 4 … and stops growing at 30 seconds."""
    pauses = [
        decide(attempt=n, most=99, permanent=False, floor_seconds=0.0, chance=0.5)
        for n in range(1, 10)
    ]
    assert [again.delay_seconds for again in pauses if isinstance(again, Again)] == [
        *(0.5, 1, 2, 4, 8, 16),
        *(30, 30, 30),
    ]


@pytest.mark.parametrize(("attempt", "pause"), [*enumerate(retry.DELIVERY_SECONDS, 1)])
@pytest.mark.parametrize(("chance", "part"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_a_delivery_is_tried_again_about_when_the_schedule_says(attempt, pause, chance, part):
    """Five seconds, then half a minute … six hours, each a fifth more or less."""
    told = retry.scheduled(
        attempt=attempt, pauses=retry.DELIVERY_SECONDS, floor_seconds=0, chance=chance
    )
    assert isinstance(told, Again)
    assert told.delay_seconds == pytest.approx(pause * part)


def test_a_delivery_is_given_up_after_the_last_pause():
    """The seventh attempt is the last."""
    last = len(retry.DELIVERY_SECONDS) + 1
    told = retry.scheduled(attempt=last, pauses=retry.DELIVERY_SECONDS, floor_seconds=9, chance=0.5)
    assert told == GiveUp()


@pytest.mark.parametrize(("asked", "waits"), [(1.0, 5.0), (60.0, 60.0), (10**9, 21_600.0)])
def test_a_receivers_retry_after_is_a_floor_up_to_the_longest_pause(asked, waits):
    """Who asks for time gets it; who asks for a year does not."""
    told = retry.scheduled(
        attempt=1, pauses=retry.DELIVERY_SECONDS, floor_seconds=asked, chance=0.5
    )
    assert told == Again(waits)
