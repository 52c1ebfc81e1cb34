"""Lanes decided in pure code: breaker, adaptive limit, Retry-After, and the bucket of a rate."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orchestrator.domain.lanes import (
    LONGEST_PAUSE_SECONDS,
    SPREAD_SECONDS,
    STRIKES,
    Batch,
    Lane,
    after,
    capacity,
    refill,
)
from orchestrator.surfaces import per_second

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LANE = Lane(concurrency=64)

counts = st.integers(1, 300)
moments = st.integers(-3600, 3600).map(lambda seconds: NOW + timedelta(seconds=seconds))
throttled = st.builds(
    Lane, concurrency=st.integers(2, 200), adaptive=st.just(1), halved_at=st.just(NOW)
)


def settled(lane: Lane, *batches: Batch, now: datetime = NOW) -> Lane:
    """The lane after these, all at the same moment."""
    for batch in batches:
        lane = after(lane, batch, now)
    return lane


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@given(st.lists(st.integers(1, STRIKES + 5), min_size=1))
def test_the_breaker_opens_with_the_tenth_failure_in_a_row(batches):
    """However they come home: one fewer leaves it closed."""
    lane, seen = LANE, 0
    for failures in batches:
        if seen < STRIKES:
            seen += failures
            lane = after(lane, Batch(failures=failures), NOW)
            assert (lane.open_until is not None) == (seen >= STRIKES)


@given(st.lists(st.builds(Batch, completed=counts, failures=st.integers(0, 300)), max_size=20))
def test_a_lane_in_which_something_completes_is_never_shut(batches):
    """However much fails beside it."""
    assert settled(LANE, *batches).open_until is None


@pytest.mark.parametrize("held", [0, 1, STRIKES, STRIKES + 9])
def test_a_completion_closes_the_breaker(held):
    """Failures are counted from nothing again."""
    lane = msgspec.structs.replace(LANE, failures=held, open_until=later(5))
    lane = after(lane, Batch(completed=1, failures=50), NOW)
    assert (lane.failures, lane.open_until) == (0, None)


@given(st.integers(STRIKES, 300))
def test_what_fails_at_once_opens_the_breaker_as_for_the_first_time(failures):
    """A hundred that ran together are no worse than ten."""
    assert after(LANE, Batch(failures=failures), NOW).open_until == later(5)


def test_each_probe_that_fails_doubles_the_pause_up_to_a_minute():
    """5, 10, 20, 40, then 60 seconds, for as long as it takes."""
    lane, now, pauses = after(LANE, Batch(failures=STRIKES), NOW), NOW, []
    for _ in range(40):
        assert lane.open_until is not None
        pauses.append((lane.open_until - now).total_seconds())
        now = lane.open_until
        lane = after(lane, Batch(failures=1), now)
    assert pauses == [5, 10, 20, 40, *[LONGEST_PAUSE_SECONDS] * 36]


@given(counts, st.integers(0, 4))
def test_what_fails_while_the_breaker_is_open_says_nothing_new(failures, seconds):
    """It had started before."""
    lane = after(LANE, Batch(failures=300), NOW)
    assert after(lane, Batch(failures=failures), later(seconds)) == lane


def test_a_batch_of_failures_is_one_reason_to_wait_longer():
    """A probe is one child; that more came home with it (of a lost claim) changes nothing."""
    lane = after(LANE, Batch(failures=STRIKES), NOW)
    assert after(lane, Batch(failures=7), later(5)) == after(lane, Batch(failures=1), later(5))


@given(st.integers(1, 200), st.none() | st.integers(1, 200))
def test_an_upstream_that_throttles_gets_half(concurrency, limited):
    """Of what was allowed, one at least; an operator's limit counts."""
    lane = Lane(concurrency=concurrency, limited=limited)
    half = after(lane, Batch(completed=500, throttled_at=NOW), later(1))
    assert half.allowed == max(1, min(concurrency, limited or concurrency) // 2)
    assert (half.halved_at, half.good) == (later(1), 0)


@given(st.lists(st.tuples(moments, st.integers(0, 3))), st.integers(1, 64))
def test_what_started_before_a_halving_never_halves_again(tellings, adaptive):
    """All that ran at once is told to slow down at once: that is one reason, not a hundred."""
    lane = msgspec.structs.replace(LANE, adaptive=adaptive, halved_at=later(3600))
    for throttled_at, completed in tellings:
        after_it = after(lane, Batch(completed=completed, throttled_at=throttled_at), later(3601))
        assert after_it.allowed >= lane.allowed
        lane = after_it


def test_what_started_after_a_halving_halves_again():
    """Down to one at a time."""
    lane, limits = LANE, []
    for n in range(8):
        lane = after(lane, Batch(throttled_at=later(2 * n)), later(2 * n + 1))
        limits.append(lane.allowed)
    assert limits == [32, 16, 8, 4, 2, 1, 1, 1]


@given(throttled, st.integers(1, 300))
def test_good_windows_bring_a_lane_back_to_its_whole_limit(lane, completed):
    """By one for each window, whatever the sizes of its batches; never by more."""
    limits = [lane.allowed]
    while lane.adaptive is not None:
        lane = after(lane, Batch(completed=completed), NOW)
        limits.append(lane.allowed)
    assert lane.allowed == limits[-1] == lane.concurrency
    assert {high - low for low, high in pairwise(limits)} <= {0, 1}


@given(throttled)
def test_a_window_is_as_many_captures_as_the_limit(lane):
    """Failures do not count for it, and take nothing away."""
    lane = msgspec.structs.replace(lane, adaptive=lane.concurrency // 2 + 1)
    almost = settled(lane, *[Batch(completed=1, failures=1)] * (lane.allowed - 1))
    assert almost.adaptive == lane.adaptive
    assert after(almost, Batch(failures=1), NOW).adaptive == lane.adaptive
    assert after(almost, Batch(completed=1), NOW).good == 0


@given(st.lists(st.builds(Batch, not_before=st.none() | moments)))
def test_the_latest_moment_an_upstream_asked_for_holds(batches):
    """An earlier one takes nothing back."""
    asked = [batch.not_before for batch in batches if batch.not_before]
    assert settled(LANE, *batches).not_before == max(asked, default=None)


class Life(RuleBasedStateMachine):
    """A lane whose children complete, fail and are throttled in any order, as time goes by."""

    @initialize(concurrency=st.integers(1, 40), limited=st.none() | st.integers(1, 60))
    def born(self, concurrency, limited):
        self.now, self.streak, self.most = NOW, 0, 0
        self.lane = Lane(concurrency=concurrency, limited=limited)
        self.configured = self.lane.allowed

    @rule(seconds=st.floats(0, 30))
    def time_goes_by(self, seconds):
        self.now += timedelta(seconds=seconds)

    @rule(completed=st.integers(0, 50), failures=st.integers(0, 12), ago=st.floats(0, 60))
    def outcomes_come_home(self, completed, failures, ago):
        before = self.lane
        at = self.now - timedelta(seconds=ago)
        batch = Batch(
            completed=completed, failures=failures, throttled_at=at if failures % 3 == 2 else None
        )
        self.lane = after(before, batch, self.now)
        open_before = before.open_until is not None and before.open_until > self.now
        if completed:
            self.streak = 0
        elif not open_before:
            self.streak += failures
        news = not completed and failures and not open_before and self.streak >= STRIKES
        assert (self.lane.open_until != before.open_until) == bool(
            news or (completed and before.open_until)
        )
        assert abs(self.lane.allowed - before.allowed) <= 1 or self.lane.halved_at == self.now

    @rule(concurrency=st.integers(1, 40))
    def it_is_configured_anew(self, concurrency):
        self.lane = msgspec.structs.replace(self.lane, concurrency=concurrency)
        self.configured = min(concurrency, self.lane.limited or concurrency)

    @invariant()
    def something_may_always_run_and_never_too_much(self):
        assert 1 <= self.lane.allowed <= self.configured

    @invariant()
    def it_is_shut_exactly_after_failures_in_a_row(self):
        assert (self.lane.open_until is not None) == (self.streak >= STRIKES)
        if self.lane.open_until:
            longest = timedelta(seconds=LONGEST_PAUSE_SECONDS)
            assert self.lane.open_until <= self.now + longest

    @invariant()
    def a_lane_that_is_not_throttled_counts_nothing(self):
        assert self.lane.good == 0 if self.lane.adaptive is None else self.lane.good >= 0


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=settings().max_examples // 2)


@st.composite
def starts(draw, *, rates):
    """A rate, and when an upstream logs what claims at any moments are granted, all they can."""
    rate = draw(rates)
    now, filled_at, tokens, logged = 0.0, 0.0, capacity(rate), []
    for gap in draw(st.lists(st.floats(0, 4 / min(rate, 1)), max_size=25)):
        now += gap
        tokens = min(capacity(rate), tokens + (now - filled_at) * refill(rate))
        filled_at = now
        late = draw(st.sampled_from([0.0, SPREAD_SECONDS]) | st.floats(0, SPREAD_SECONDS))
        logged += [now + late] * int(tokens)
        tokens -= int(tokens)
    return rate, sorted(logged)


def burst(rate: float, logged: list[float]) -> float:
    """The most starts in any window beyond rate × its seconds."""
    fewest, most = float("inf"), 0.0
    for n, moment in enumerate(logged):
        fewest = min(fewest, n - rate * moment)
        most = max(most, n + 1 - rate * moment - fewest)
    return most


@given(starts(rates=st.floats(1, 40)))
def test_no_window_of_an_upstreams_log_has_more_than_the_rate_and_a_second_of_it(started):
    """At most rate × (w + 1) in any window of w seconds, however late each start arrives."""
    rate, logged = started
    assert burst(rate, logged) <= rate + 1e-6


@given(starts(rates=st.floats(1 / 3600, 1)))
def test_starts_of_a_slow_lane_are_never_closer_than_its_rate_says(started):
    """Below one a second there is no burst but the one start itself."""
    rate, logged = started
    assert all(later - earlier >= 1 / rate - 1e-6 for earlier, later in pairwise(logged))


def test_the_spread_is_needed():
    """Were it not reckoned with, starts that arrive late and early ones would be too many."""
    rate = 20.0
    whole = capacity(rate, 0.0)
    late = [SPREAD_SECONDS] * int(whole)
    at_once = [SPREAD_SECONDS] * int(SPREAD_SECONDS * refill(rate, 0.0))
    assert burst(rate, late + at_once) > rate
    assert capacity(rate) + SPREAD_SECONDS * refill(rate) == rate


@given(st.floats(1 / 3600, 1e6))
def test_a_rate_is_kept_to_within_a_quarter(rate):
    """A bucket always holds a start, and gives no more than the rate and hardly less."""
    assert capacity(rate) >= 1
    assert rate >= refill(rate) >= 0.74 * rate


@pytest.mark.parametrize(
    ("written", "starts"),
    [
        ("10/s", 10),
        ("600/min", 10),
        ("3600/h", 1),
        ("0.5/s", 0.5),
        ("1.5/min", 0.025),
        (None, None),
    ],
)
def test_a_rate_is_starts_of_a_time(written, starts):
    """Seconds, minutes or hours; whole numbers and decimal ones."""
    assert per_second(written) == starts
