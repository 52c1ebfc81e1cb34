import math
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.budget import UNBOUND, Budget, Quota
from admission.policy import Usage
from orchestrator.domain import estimates, preflight
from orchestrator.domain.estimates import DECAY_SECONDS, Going
from orchestrator.domain.preflight import Jobs, Met
from orchestrator.domain.snapshot import RequestRate

IDLE = Going(
    ready=0,
    drain_per_second=0.0,
    cells=0,
    sync_cells=0,
    in_flight=0,
    window=100,
    processing=0,
    ended=0.0,
    ended_at=0.0,
    ended_from=0.0,
    busy=0.0,
    spent=0.0,
    busy_at=0.0,
    now=1_000.0,
)
ONE = Jobs(n=1, cells=1)
RATE = RequestRate(limit=600, remaining=599, reset_at="")
usages = st.builds(
    Usage,
    budget=st.just(UNBOUND),
    waiting=st.integers(0, 15_000),
    capacity=st.integers(0, 15_000),
    reservations=st.dictionaries(st.uuids(), st.integers(1, 3_000), max_size=3),
    callers=st.integers(0, 900),
    sync_limit=st.integers(0, 900),
)


def at_work(slots: int, takes: float, *, seconds: float, left: int, jitter: float = 0.0) -> Going:
    """A key that ran so many cells at once for so long, counted as the database counts.

    Each takes `takes` seconds, or up to that share `jitter` less or more.
    """
    chance = random.Random(7)
    ended = busy = spent = 0.0
    for _ in range(slots):
        begun = 0.0
        while begun < seconds:
            took = takes * chance.uniform(1 - jitter, 1 + jitter)
            end = min(begun + took, seconds)
            busy += DECAY_SECONDS * (weight(seconds - end) - weight(seconds - begun))
            if begun + took <= seconds:
                ended += weight(seconds - end)
                spent += took * weight(seconds - end)
            begun += took
    return IDLE._replace(
        processing=slots if left else 0,
        ended=ended,
        ended_at=seconds,
        busy=busy,
        spent=spent,
        busy_at=seconds,
        now=seconds,
        cells=left,
    )


def weight(age: float) -> float:
    return math.exp(-age / DECAY_SECONDS)


slots = st.integers(1, 50)
times = st.floats(0.1, 10)


@given(slots, times, st.floats(1.01, 40), st.integers(1, 100_000))
def test_cells_that_end_together_do_not_make_the_pace_jump(slots, takes, rounds, left):
    """From the first round on, and wherever in a round it is asked, within a quarter."""
    going = at_work(slots, takes, seconds=rounds * takes, left=left)
    truth = (left + 1) * takes / slots
    assert estimates.finish_seconds(going, ONE) == pytest.approx(truth, rel=0.25)


@given(slots.filter(lambda n: n > 9), times, st.floats(4, 40), st.floats(0, 0.6))
def test_nor_do_cells_that_take_as_long_as_they_like(slots, takes, rounds, jitter):
    """After a few rounds, when those that take long are among those that ended."""
    going = at_work(slots, takes, seconds=rounds * takes, left=1_000, jitter=jitter)
    truth = 1_001 * takes / slots
    assert estimates.finish_seconds(going, ONE) == pytest.approx(truth, rel=0.25)


def steady(per_second: float, *, seconds: float, left: int) -> Going:
    """A key whose cells, of a tenth of a second each, have ended at this pace for so long."""
    return at_work(round(per_second / 10), 0.1, seconds=seconds, left=left)


def test_the_pace_of_a_key_that_stands_still_fades():
    """Nothing ended for a minute: the estimate grows by what that tells."""
    going = steady(100.0, seconds=60, left=1_000)
    later = going._replace(now=going.now + 60)
    soon, late = (estimates.finish_seconds(one, ONE) for one in (going, later))
    assert soon
    assert late
    assert 7 < late / soon < 9


def test_a_key_that_has_ended_its_work_keeps_its_pace_for_a_while():
    """Time without work says nothing of how fast it is done; after half a minute it is old."""
    going = steady(100.0, seconds=60, left=0)
    (at_once, soon, late) = (
        estimates.finish_seconds(going._replace(now=going.now + since), Jobs(n=100, cells=2))
        for since in (0, 20, 31)
    )
    assert at_once == soon == pytest.approx(2.0, rel=0.05)
    assert late is None


def test_nothing_ended_is_nothing_known():
    """Before the first cell has ended there is no pace, and no number is made up."""
    assert estimates.cells_per_second(IDLE) is None
    assert estimates.finish_seconds(IDLE._replace(cells=5, ready=5), ONE) is None
    assert estimates.start_seconds(IDLE._replace(ready=5), ONE) is None


def test_a_pace_long_gone_is_unknown_and_no_underflow():
    """A key that has stood still for days."""
    going = steady(100.0, seconds=60, left=1_000)
    assert estimates.finish_seconds(going._replace(now=going.now + 1e6), ONE) is None


def test_the_start_is_behind_those_who_may_leave():
    """The queue at its own pace; an empty one is left at once while its key has room."""
    assert estimates.start_seconds(IDLE._replace(ready=12, drain_per_second=4.0), ONE) == 3.0
    assert estimates.start_seconds(IDLE, ONE) == 0.0
    assert estimates.start_seconds(IDLE, ONE._replace(served=False)) is None
    assert estimates.start_seconds(IDLE._replace(in_flight=99), ONE) == 0.0


def test_a_key_that_runs_all_it_may_starts_the_next_as_its_cells_end():
    """Three cells beyond its window at two a second, and one more to make room."""
    going = at_work(2, 1.0, seconds=60, left=102)._replace(in_flight=102, window=100)
    assert estimates.start_seconds(going, ONE) == pytest.approx(1.5, rel=0.05)
    assert estimates.start_seconds(going._replace(ended=0.0), ONE) is None


def test_sync_jobs_wait_for_sync_jobs_only():
    """They start at once, and a backlog of async cells is not before them."""
    going = at_work(10, 1.0, seconds=60, left=10_000)._replace(sync_cells=20, ready=500)
    sync = Jobs(n=2, cells=5, sync=True)
    assert estimates.start_seconds(going, sync) == 0.0
    assert estimates.finish_seconds(going, sync) == pytest.approx(3.0, rel=0.05)
    assert estimates.start_seconds(going, sync._replace(served=False)) is None


@given(usages, st.integers(1, 20_000), st.booleans())
def test_what_preflight_says_is_what_admission_decides(usage, n, sync):
    """It names the limit a submission would meet; what can never fit has no time to come back."""
    met = preflight.met(Jobs(n=n, cells=1, sync=sync), usage, RATE)
    taken = usage.sync_running if sync else usage.depth
    limit = usage.sync_limit if sync else usage.capacity
    requests = n if sync else math.ceil(n / 500)
    if requests > RATE.remaining:
        assert met
        assert met.binding == "requestRate"
        assert (met.retry_after_seconds is None) == (requests > RATE.limit)
    elif n <= max(0, limit - taken):
        assert met is None
    else:
        assert met
        assert met.binding == ("syncConcurrency" if sync else "admissionQueue")
        assert (met.retry_after_seconds is None) == (n > limit)


def quota(used):
    return Quota("daily", 10, used, datetime(2026, 1, 2, tzinfo=UTC))


def test_a_budget_that_is_too_small_is_met_before_the_room():
    """Of credits nobody knows when; of a quota when it begins anew, if it ever has room."""
    full = Usage(9, 9, now=datetime(2026, 1, 1, 23, 59, tzinfo=UTC).timestamp())
    jobs = Jobs(n=2, cells=3, credits=5)
    poor = full._replace(budget=Budget(9))
    assert preflight.met(jobs, poor, RATE) == Met("credits", None)
    spent = full._replace(budget=Budget(10, (quota(5),)))
    assert preflight.met(jobs, spent, RATE) == Met("quota", 60)
    never = full._replace(budget=Budget(quotas=(quota(0),)))
    assert preflight.met(jobs._replace(n=4), never, RATE) == Met("quota", None)
    rich = full._replace(budget=Budget(10, (quota(4),)))
    met = preflight.met(jobs, rich, RATE)
    assert met
    assert met.binding == "admissionQueue"


def test_the_rate_says_when_its_tokens_are_due():
    """Sixty more than are left at ten a second."""
    spent = RequestRate(limit=600, remaining=0, reset_at="")
    met = preflight.met(Jobs(n=60, cells=1, sync=True), Usage(0, 0, sync_limit=60), spent)
    assert met == Met("requestRate", 6)
