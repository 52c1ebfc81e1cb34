import math
from uuid import UUID

from hypothesis import assume, given
from hypothesis import strategies as st

from admission.budget import UNBOUND
from admission.demand import Demand
from admission.pace import FIRST_GUESS_SECONDS, Pace
from admission.policy import (
    LONGEST_WAIT_SECONDS,
    Admitted,
    Refused,
    Usage,
    decide,
    drawn,
    headroom,
    promise,
    retry_after,
    sync_headroom,
)
from admission.refusals import RefusalCode, Watch

places = st.integers(0, 10_000)
ids = st.sampled_from([UUID(int=n) for n in range(1, 6)])
rates = st.floats(0, 10_000)
chances = st.floats(0, 1, exclude_max=True)
usages = st.builds(
    Usage,
    budget=st.just(UNBOUND),
    waiting=places,
    capacity=places,
    reservations=st.dictionaries(ids, st.integers(1, 3_000), max_size=4),
    drain_per_second=rates,
    callers=st.integers(0, 30),
    detached=st.integers(0, 60),
    sync_limit=st.integers(0, 20),
    sync_per_second=rates,
    promised=st.floats(0, 2_000),
    sync_promised=st.floats(0, 2_000),
    now=st.floats(900, 1_100),
    resumes_in=st.none() | st.floats(0, 4_000),
)


@given(usages)
def test_headroom_is_exactly_what_is_admitted(usage):
    """A demand of the headroom is admitted and one place more is refused."""
    room = headroom(usage)
    assert room >= 0
    assert isinstance(decide(Demand(1, room + 1), usage), Refused)
    if room:
        decision = decide(Demand(1, room), usage)
        assert decision == Admitted(usage._replace(waiting=usage.waiting + room))


@given(usages)
def test_sync_headroom_is_exactly_what_is_admitted(usage):
    """As many callers as there is sync headroom are admitted, one after the other, and no more."""
    one = Demand(1, places=0, callers=1)
    for _ in range(sync_headroom(usage)):
        decision = decide(one, usage)
        assert isinstance(decision, Admitted)
        usage = decision.usage
    assert isinstance(decide(one, usage), Refused)


@given(usages, st.integers(1, 1000))
def test_what_is_admitted_never_passes_the_capacity(usage, asked):
    """The depth after a yes is within the capacity; a no takes nothing and says why."""
    match decide(Demand(1, asked), usage):
        case Admitted(after):
            assert after.depth == usage.depth + asked
            assert after.depth <= usage.capacity
        case Refused(after, refusal):
            assert usage.depth + asked > usage.capacity
            assert after._replace(promised=usage.promised) == usage
            assert refusal.code is RefusalCode.QUEUE_CAPACITY_EXCEEDED
            assert refusal.watch is Watch.ADMISSION_QUEUE
            assert (refusal.limit, refusal.current) == (usage.capacity, usage.depth)
            assert refusal.requested == asked
            assert refusal.taken == (usage.sync_limit, usage.sync_running, usage.depth)
            assert 1 <= refusal.retry_after_seconds <= LONGEST_WAIT_SECONDS


@given(usages, ids, st.integers(1, 4_000))
def test_a_demand_draws_on_its_reservation_first_and_never_overdraws(usage, reservation, asked):
    """What it takes of the queue is what its reservation has not; no other one is touched.

    So drawing never raises the depth, and a reservation the key does not have is as none.
    """
    held = usage.reservations.get(reservation, 0)
    demand = Demand(1, asked, reservation=reservation)
    assert drawn(demand, usage) == min(asked, held)
    match decide(demand, usage):
        case Admitted(after):
            left = {**usage.reservations, reservation: max(0, held - asked)} if held else {}
            assert dict(after.reservations) == (left or dict(usage.reservations))
            assert after.waiting == usage.waiting + asked
            assert after.depth - usage.depth == max(0, asked - held)
            assert after.depth <= max(usage.depth, usage.capacity)
        case Refused(after, refusal):
            assert asked - held > headroom(usage)
            assert after._replace(promised=usage.promised) == usage
            assert (refusal.current, refusal.requested) == (usage.depth, asked)


@given(usages, st.lists(st.tuples(st.none() | ids, st.integers(1, 900)), max_size=20))
def test_whatever_is_drawn_by_whom_the_depth_stays_within_the_capacity(usage, demands):
    """Over any sequence: no reservation below zero, no draw of more than was held, no overflow."""
    held, most = dict(usage.reservations), max(usage.depth, usage.capacity)
    given_out = dict.fromkeys(held, 0)
    for reservation, asked in demands:
        before = usage
        usage = decide(Demand(1, asked, reservation=reservation), usage).usage
        if reservation in held:
            given_out[reservation] += before.reservations[reservation]
            given_out[reservation] -= usage.reservations[reservation]
        assert usage.depth <= most
        assert usage.reservations.keys() == held.keys()
        assert min(usage.reservations.values(), default=0) >= 0
    assert all(given_out[one] <= held[one] for one in held)


def test_a_lowered_capacity_takes_no_reserved_place_away():
    """Places held under the old capacity are drawn under the new one; no place more is."""
    one = UUID(int=1)
    usage = Usage(waiting=3, capacity=2, reservations={one: 1})
    drawing = decide(Demand(1, reservation=one), usage)
    assert isinstance(drawing, Admitted)
    assert drawing.usage.depth == usage.depth
    assert isinstance(decide(Demand(1, 2, reservation=one), usage), Refused)


@given(usages)
def test_callers_never_pass_the_sync_limit(usage):
    """Whatever is detached, running stays within the limit and unfinished parents within twice."""
    assume(usage.sync_running <= usage.sync_limit)
    match decide(Demand(1, 0, 1), usage):
        case Admitted(after):
            assert after.sync_running <= usage.sync_limit
            assert after.callers + after.detached <= 2 * usage.sync_limit
        case Refused(after, refusal):
            assert after._replace(sync_promised=usage.sync_promised) == usage
            assert refusal.code is RefusalCode.CONCURRENCY_LIMIT_EXCEEDED
            assert refusal.watch is Watch.SYNC_CONCURRENCY
            assert (refusal.limit, refusal.current) == (usage.sync_limit, usage.sync_running)
            assert 1 <= refusal.retry_after_seconds <= LONGEST_WAIT_SECONDS


@given(st.integers(0, 20), st.integers(0, 40), st.integers(0, 40))
def test_leaving_never_takes_running_past_the_limit(limit, callers, leave):
    """Callers that detach free their places at once, until as many are detached as may call."""
    assume(callers <= limit)
    before = Usage(0, 0, callers=callers, detached=limit, sync_limit=limit)
    assume(before.sync_running <= limit)
    gone = min(leave, callers)
    after = before._replace(callers=callers - gone, detached=limit + gone)
    assert after.sync_running == before.sync_running
    free = Usage(0, 0, callers=callers - gone, detached=gone, sync_limit=limit)
    assert free.sync_running == callers - gone


@given(st.floats() | st.just(math.inf), chances)
def test_a_retry_is_asked_for_within_a_minute(seconds, chance):
    """Whatever the wait comes to, it is whole seconds from 1 to 60."""
    assume(not math.isnan(seconds))
    told = retry_after(seconds, chance)
    assert isinstance(told, int)
    assert 1 <= told <= 60


def test_those_told_the_longest_come_back_apart():
    """What is further away than a minute is spread over the last quarter of it."""
    told = {retry_after(1000.0, n / 100) for n in range(100)}
    assert told == set(range(45, 61))


@given(usages, st.integers(2, 50))
def test_those_refused_together_are_told_one_after_the_other(usage, times):
    """Each refusal for the same room says no less than the one before it."""
    usage = usage._replace(waiting=usage.capacity, reservations={}, drain_per_second=2.0)
    told = _told(usage._replace(promised=0.0, resumes_in=None), times)
    assert told == sorted(told)
    assert told[0] == 1
    assert told[-1] == min(60, math.ceil(times / 2))


@given(usages, st.integers(2, 50), st.integers(0, 50))
def test_a_queue_that_is_to_move_again_says_when(usage, times, seconds):
    """However fast it moved before; those refused together still come one after the other."""
    usage = usage._replace(waiting=usage.capacity, reservations={}, promised=0.0)
    told = _told(usage._replace(resumes_in=float(seconds)), times)
    assert told == sorted(told)
    assert told[0] == seconds + 1
    assert told[-1] == seconds + max(1, math.ceil(times / 10))


def _told(usage: Usage, times: int) -> list[int]:
    """The seconds told to so many who are refused a place one after the other."""
    told = []
    for _ in range(times):
        decision = decide(Demand(1), usage)
        assert isinstance(decision, Refused)
        usage = decision.usage
        told.append(decision.refusal.retry_after_seconds)
    return told


def test_the_wait_follows_the_measured_rate():
    """Ten missing at two a second take five; a standing queue is worth a look after 15 s."""
    assert promise(0, 100, 10, 1, 2.0) == 105
    assert promise(0, 100, 1, 1, 0.0) == 115
    assert promise(103, 100, 1, 1, 2.0) == 103.5


def test_promises_are_worked_off_by_time():
    """A promise of the past holds nobody back."""
    assert promise(50, 100, 1, 1, 1.0) == 101


def test_a_wait_may_take_no_time():
    """A job that had ended already, by a clock of milliseconds: the pace is divided by."""
    pace = Pace()
    pace.note(1, 0.0)
    assert pace.seconds(1) > 0


def test_the_pace_is_the_recent_waits():
    """It begins with a guess, follows the first wait and then moves slowly."""
    pace = Pace()
    assert pace.seconds(1) == FIRST_GUESS_SECONDS
    pace.note(1, 10.0)
    assert pace.seconds(1) == 10.0
    pace.note(1, 20.0)
    assert pace.seconds(1) == 12.0
    assert pace.seconds(2) == FIRST_GUESS_SECONDS
