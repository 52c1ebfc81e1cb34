"""The meter reads what there is to read."""

import pytest

from tests.chaos import meter


def every(seconds: float, since: float, until: float) -> list[float]:
    return [since + n * seconds for n in range(round((until - since) / seconds))]


def test_the_rate_counts_what_ended_between_two_moments():
    """The first moment counts, the last does not."""
    assert meter.rate([0, 1, 2, 3], 0, 2) == 1
    assert meter.rate([], 0, 2) == 0


@pytest.mark.parametrize("gap", [0, 3, 7])
def test_recovery_begins_with_the_first_window_that_is_full_again(gap):
    """A gap after the fault is the time it takes, give or take a tenth of a window."""
    moments = every(0.1, 0, 10) + every(0.1, 10 + gap, 30)
    found = meter.recovered(moments, since=10, until=30, baseline=10)
    assert found == pytest.approx(10 + gap, abs=0.1 * meter.WINDOW_SECONDS + meter.STEP_SECONDS)


def test_what_never_comes_back_has_not_recovered():
    """Half the rate is not enough, nor is too little time to tell."""
    assert meter.recovered(every(0.2, 0, 30), since=10, until=30, baseline=10) is None
    assert meter.recovered(every(0.1, 0, 11), since=10, until=11, baseline=10) is None
