"""The request rate without a database: what is granted, told and refused, with time handed in."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

from admission.lots import Lot
from admission.rate import GOOD_SECONDS, Ask, Lease, Rate, Seen, Standing, lease, size
from admission.refusals import RefusalCode, Taken, Watch

EPOCH = 1.79e9
STEP = 1e-3
"""Tokens by which the steps of a clock in epoch seconds may add up."""
TAKEN = Taken(sync_limit=8, sync_running=2, depth=12)
LIMITS = st.sampled_from([1, 2, 5, 11, 12, 59, 60, 119, 600, 6000])


class Database:
    """The bucket of one key and the lots out of it, as the tables keep them."""

    def __init__(self, limit: int, now: float) -> None:
        self.limit, self.tokens, self.filled_at = limit, float(limit), now
        self.lots: dict[int, tuple[int, float]] = {}

    def lease(self, node: int, ask: Ask, now: float) -> Lease:
        lost = GOOD_SECONDS + max(GOOD_SECONDS, 60 / self.limit)
        live = {n: tokens for n, (tokens, at) in self.lots.items() if at > now - lost}
        mine = live.pop(node, 0)
        standing = Standing(self.limit, self.tokens, self.filled_at, sum(live.values()), mine, now)
        leased = lease(standing, ask)
        self.tokens, self.filled_at = leased.tokens, leased.at
        self.lots[node] = (leased.lot, leased.at)
        return leased


class Process:
    """A process with its lot, its clock, and perhaps a lease on its way."""

    def __init__(self, node: int, database: Database) -> None:
        self.node, self.database = node, database
        self.lot = Lot(1, database.limit)
        self.asked: Ask | None = None
        self.leased: Lease | None = None
        self.spent = 0

    def clock(self, now: float) -> float:
        return now - EPOCH + 1000 * self.node

    def take(self, now: float, crowd: int) -> int:
        """As many of a crowd as find a token at hand; the others wait."""
        taken = 0
        while taken < crowd and self.lot.spend(self.clock(now)):
            taken += 1
        self.spent += taken
        if not self.lot.dry(self.clock(now)):
            self.lot.waiting += crowd - taken
        return taken

    def ask(self, now: float) -> None:
        if self.asked is None:
            self.asked = self.lot.ask(self.clock(now))

    def commit(self, now: float) -> None:
        if self.asked and not self.leased:
            self.leased = self.database.lease(self.node, self.asked, now)

    def answer(self, now: float) -> None:
        if self.leased:
            self.lot.take_in(self.leased, self.clock(now))
            self.lose(now)

    def lose(self, now: float) -> None:
        """The connection breaks: whether it was committed is not known."""
        self.asked = self.leased = None
        self.lot.waiting = 0

    def leave(self, now: float) -> None:
        self.lot.leave()

    def round(self, now: float) -> None:
        """A lease from beginning to end."""
        self.ask(now)
        self.commit(now)
        self.answer(now)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["take", "round", "ask", "commit", "answer", "lose", "leave", "burst"]),
        st.sampled_from([0, 0, 0, 0.001, 0.06, 0.4, 1.1, 3, 4.9, 6, 9.9, 11, 20, 61]),
        st.sampled_from([1, 1, 3, 10_000]),
    ),
    max_size=150,
)


def excess(spent: list[tuple[float, int]], limit: int) -> float:
    """By how much the worst interval of these (time, count) passes limit + d * limit / 60."""
    most = running = 0.0
    before = EPOCH
    for at, n in spent:
        running = max(0.0, running - (at - before) * limit / 60) + n
        most, before = max(most, running), at
    return most - limit


@settings(max_examples=300)
@given(LIMITS, STEPS)
def test_no_interval_ever_holds_more_than_the_bucket_and_its_refill(limit, steps):
    """Three processes, leases lost, late or never answered, long sleeps: spends stay in bounds."""
    now = EPOCH
    database = Database(limit, now)
    processes = [Process(node, database) for node in range(3)]
    spent = []
    for who, what, seconds, crowd in steps:
        now += seconds
        process = processes[who]
        if what in {"take", "burst"}:
            spent.append((now, process.take(now, crowd)))
        if what == "burst":
            process.round(now)
            spent.append((now, process.take(now, crowd)))
        elif what != "take":
            getattr(process, what)(now)
    target(excess(spent, limit) / limit)  # looks for the worst
    assert excess(spent, limit) <= STEP
    assert database.tokens <= limit


@given(LIMITS, st.integers(1, 4), st.lists(st.sampled_from([0.1, 0.9, 2.5, 7]), max_size=20))
def test_others_keep_no_more_than_a_lot_each_from_a_process_that_wants_all(limit, others, pauses):
    """However long it takes: bucket and refill, but for a full lot of each idle-handed other."""
    now = EPOCH
    database = Database(limit, now)
    crowd = [Process(node, database) for node in range(others + 1)]
    for process in crowd[1:]:
        process.take(now, 1)
        process.round(now)
        process.take(now, 1)
        process.round(now)
        assert process.lot.hand <= size(limit)
    got = sum(process.spent for process in crowd)
    for pause in [0.0, *pauses]:
        now += pause
        got += crowd[0].take(now, 10 * limit)
        crowd[0].round(now)
        got += crowd[0].take(now, 10 * limit)
        if crowd[0].lot.low(crowd[0].clock(now)):
            crowd[0].round(now)
    assert got >= limit + (now - EPOCH) * limit / 60 - 1 - (others + 1) * size(limit)


@given(LIMITS, st.lists(st.integers(0, 3), max_size=50))
def test_a_process_alone_spends_exactly_the_limit(limit, crowds):
    """In one moment the bucket of a new key gives its limit, not one less and not one more."""
    process = Process(0, Database(limit, EPOCH))
    for crowd in [*crowds, limit, limit]:
        process.take(EPOCH, crowd)
        process.round(EPOCH)
    process.take(EPOCH, limit)
    assert process.spent == limit


@pytest.mark.parametrize(("limit", "lot"), [(1, 1), (59, 1), (60, 1), (600, 10), (240_000, 4000)])
def test_a_lot_is_a_seconds_worth(limit, lot):
    """And at least one token."""
    assert size(limit) == lot


def test_a_token_is_back_after_a_sixtieth_of_the_limit():
    """The refill is even: at 30 a minute one token every two seconds."""
    empty = Standing(limit=30, tokens=0.0, filled_at=EPOCH, others=0, mine=0, now=EPOCH)
    for seconds, granted in ((1.9, 0), (2, 1), (3.9, 1), (4, 2), (60, 30), (3600, 30)):
        got = lease(empty._replace(now=EPOCH + seconds), Ask(held=0, returned=0, wanted=99))
        assert got.granted == granted
        assert got.at == EPOCH + seconds


def test_a_clock_that_went_back_fills_nothing():
    """Time that was counted once is not counted again."""
    standing = Standing(limit=60, tokens=0.0, filled_at=EPOCH, others=0, mine=0, now=EPOCH - 9)
    got = lease(standing, Ask(held=0, returned=0, wanted=9))
    assert (got.granted, got.at) == (0, EPOCH)


def test_what_was_spent_makes_room_from_now_on_only():
    """It may have been spent a moment ago: what came in before that found no room."""
    full = Standing(limit=600, tokens=590.0, filled_at=EPOCH, others=0, mine=10, now=EPOCH + 9)
    told = lease(full, Ask(held=0, returned=0, wanted=0))
    assert told.tokens == 590
    later = Standing(600, told.tokens, told.at, others=0, mine=told.lot, now=EPOCH + 10)
    assert lease(later, Ask(held=0, returned=0, wanted=999)).granted == 600


@pytest.mark.parametrize("limit", [*range(1, 62), 600])
def test_a_lot_counts_until_its_last_spend_is_paid_for(limit):
    """Somebody spends as late as possible and dies; all that others ever get stays in bounds."""
    for seconds in range(5, 130):
        database = Database(limit, EPOCH)
        database.lease(1, Ask(0, 0, size(limit)), EPOCH)
        spent = [(EPOCH + GOOD_SECONDS, size(limit))]
        got = database.lease(2, Ask(0, 0, limit), EPOCH + seconds).granted
        assert excess([*spent, (EPOCH + seconds, got)], limit) <= STEP


@pytest.mark.parametrize("idle", [1, 100])
def test_a_bucket_counts_in_fractions_be_it_full_or_not(idle):
    """Buckets are written many at once, in one array, which holds numbers of one kind."""
    standing = Standing(60, tokens=0.0, filled_at=EPOCH, others=0, mine=0, now=EPOCH + idle)
    assert isinstance(lease(standing, Ask(0, 0, 0)).tokens, float)


def test_only_what_is_leased_can_be_returned():
    """Nobody fills a bucket with tokens that the database knows nothing of."""
    standing = Standing(limit=60, tokens=10.0, filled_at=EPOCH, others=0, mine=3, now=EPOCH)
    assert lease(standing, Ask(held=1, returned=9, wanted=0)).tokens == 12


def test_a_lowered_limit_holds_at_once():
    """What the bucket holds beyond the new limit is gone, also what is out in lots."""
    full = Standing(limit=5, tokens=590.0, filled_at=EPOCH, others=2, mine=0, now=EPOCH)
    assert lease(full, Ask(held=0, returned=0, wanted=99)).granted == 3
    owing = full._replace(others=10)
    assert lease(owing, Ask(held=0, returned=0, wanted=99)).tokens == 0


def test_a_raised_limit_refills_faster_from_now_on():
    """No more than it would have had anyway: the bucket is full at the new limit."""
    low = Standing(limit=600, tokens=0.0, filled_at=EPOCH, others=0, mine=0, now=EPOCH + 1)
    assert lease(low, Ask(held=0, returned=0, wanted=99)).granted == 10


def filled(limit: int, now: float = 0.0) -> Lot:
    """A full lot, out of a full bucket."""
    lot = Lot(1, limit)
    lot.used_at = now
    asked = lot.ask(now)
    lot.take_in(Lease(limit, asked.wanted, limit - asked.wanted, 0, asked.wanted, EPOCH), now)
    return lot


def test_a_lot_is_topped_up_when_half_is_gone():
    """Long before it is empty, so that nobody waits."""
    lot = filled(600)
    low = []
    for _ in range(10):
        assert lot.spend(0.0)
        low.append(lot.low(0.0))
    assert low == [False] * 4 + [True] * 6
    assert lot.ask(0.0) == Ask(held=0, returned=0, wanted=10)


def test_who_waits_is_leased_for_beside_the_lot():
    """A crowd at an empty lot is served by one lease."""
    lot = Lot(1, 600)
    lot.waiting = 25
    assert lot.ask(0.0).wanted == 35


def test_an_idle_lot_is_given_back_and_one_in_use_spoken_of():
    """After a second without a spend everything goes back; else what was spent is told."""
    lot = filled(600)
    lot.spend(0.8)
    assert not lot.unsaid(0.9)
    assert lot.unsaid(1.5)
    assert lot.ask(1.5) == Ask(held=9, returned=0, wanted=1)
    lot.take_in(Lease(600, 1, 589, 0, 10, EPOCH + 1.5), 1.5)
    assert lot.unsaid(3)
    assert lot.ask(3) == Ask(held=0, returned=10, wanted=0)
    lot.take_in(Lease(600, 0, 599, 0, 0, EPOCH + 3), 3)
    assert lot.resting(3)


def test_a_lot_not_spoken_of_for_long_is_not_spent_from():
    """By then the database may count it no more."""
    lot = filled(600)
    assert lot.spend(GOOD_SECONDS - 0.1)
    assert not lot.spend(GOOD_SECONDS)
    assert lot.ask(GOOD_SECONDS) == Ask(held=0, returned=9, wanted=10)


def dry(limit: int, *, tokens: float = 0.0, now: float = 0.0) -> Lot:
    """An empty lot of a bucket with less than a token."""
    lot = Lot(1, limit)
    lot.waiting = 1
    lot.ask(now)
    lot.take_in(Lease(limit, 0, tokens, 0, 0, EPOCH + now), now)
    return lot


def test_an_empty_bucket_is_asked_again_when_its_next_token_is_due():
    """Until then a refusal costs no database work."""
    lot = dry(60, tokens=0.25)
    assert lot.dry(0.7)
    assert not lot.dry(0.75)
    assert lot.low(0.75)


def test_tokens_out_with_others_are_looked_for_every_second():
    """An idle process gives its lot back long before the next token is due at a small limit."""
    lot = Lot(1, 5)
    lot.waiting = 1
    lot.ask(0.0)
    lot.take_in(Lease(5, 0, 0.0, 1, 0, EPOCH), 0.0)
    assert lot.dry(0.9)
    assert not lot.dry(1.0)
    assert lot.refuse(0.0, TAKEN).retry_after_seconds == 12


def test_a_whole_lot_spent_is_told_at_once():
    """What a crowd took makes room in the bucket without waiting for the lot to be low."""
    lot = Lot(1, 60)
    lot.waiting = 3
    asked = lot.ask(0.0)
    lot.take_in(Lease(60, asked.wanted, 0.0, 0, asked.wanted, EPOCH), 0.0)
    low = []
    for _ in range(3):
        assert lot.spend(0.0)
        low.append(lot.low(0.0))
    assert low == [True, True, True]
    assert lot.ask(0.0) == Ask(held=1, returned=0, wanted=0)


def test_a_bucket_that_got_tokens_back_is_not_empty():
    """What a process gave back it may have again at once."""
    lot = dry(1)
    lot.ask(0.0)
    lot.take_in(Lease(1, 0, 1.0, 0, 0, EPOCH), 0.0)
    assert not lot.dry(0.0)


def test_refusals_are_told_the_time_of_their_own_token():
    """The n-th is due after the n-1 before it: at 60 a minute 1 s, 2 s, 3 s, …"""
    lot = dry(60)
    refusals = [lot.refuse(0.0, TAKEN) for _ in range(5)]
    assert [refusal.retry_after_seconds for refusal in refusals] == [1, 2, 3, 4, 5]
    assert refusals[0][:5] == (RefusalCode.RATE_LIMIT_EXCEEDED, Watch.REQUEST_RATE, 60, 60, 1)
    assert refusals[0].taken == TAKEN


def test_promises_are_worked_off_by_the_tokens_that_come_in():
    """Five promised; three seconds later two of them are outstanding."""
    lot = dry(60)
    for _ in range(5):
        lot.refuse(0.0, TAKEN)
    lot.waiting = 1
    lot.ask(3.0)
    lot.take_in(Lease(60, 0, 0.0, 0, 0, EPOCH + 3), 3.0)
    assert lot.refuse(3.0, TAKEN).retry_after_seconds == 3
    assert not lot.resting(3.0)


@given(st.integers(2, 200))
def test_those_beyond_a_minute_come_back_apart(crowd):
    """Nobody is told more than 60 s, and a crowd told the most is spread over 45 to 60."""
    lot = dry(1)
    told = [lot.refuse(0.0, TAKEN).retry_after_seconds for _ in range(crowd)]
    assert told[0] == 60
    assert all(45 <= seconds <= 60 for seconds in told)
    far = told[1:]
    assert max(map(far.count, far)) <= math.ceil(len(far) / 16) + 2


def test_a_refusal_forgets_the_flood_before_it_after_a_minute():
    """Promises never reach further than a minute, whatever asked for them."""
    lot = dry(600)
    for _ in range(100_000):
        lot.refuse(0.0, TAKEN)
    assert not lot.resting(59.0)
    assert lot.resting(60.2)


def test_the_view_counts_bucket_refill_and_lot():
    """Remaining falls with each spend and rises with time, never above the limit nor below 0."""
    lot = filled(60)
    assert lot.view(0.0, EPOCH) == Rate(60, 60, int(EPOCH))
    lot.spend(0.0)
    assert lot.view(0.0, EPOCH) == Rate(60, 59, int(EPOCH) + 1)
    assert lot.view(0.5, EPOCH + 0.5) == Rate(60, 59, int(EPOCH) + 1)
    assert lot.view(1.0, EPOCH + 1) == Rate(60, 60, int(EPOCH) + 1)


def test_a_new_lot_is_taken_for_full():
    """What is known of a key before its first lease is its limit."""
    assert Lot(1, 7).view(5.0, EPOCH) == Rate(7, 7, int(EPOCH))


def test_nothing_remains_for_who_is_refused():
    """Tokens out in the lots of others are none that this process could give."""
    lot = Lot(1, 5)
    lot.waiting = 1
    lot.ask(0.0)
    lot.take_in(Lease(5, 0, 0.5, 1, 0, EPOCH), 0.0)
    assert lot.view(0.0, EPOCH) == Rate(5, 0, int(EPOCH) + 42)


def test_what_the_database_shows_corrects_the_view():
    """Less what was spent here since it was told; a lease not yet answered corrects nothing."""
    lot = filled(600)
    lot.spend(0.0)
    assert lot.observe(Seen(level=90.0, leased_at=EPOCH), 0.0, EPOCH).remaining == 89
    assert lot.view(0.0, EPOCH).remaining == 89
    assert lot.observe(Seen(level=50.0, leased_at=EPOCH + 1), 0.0, EPOCH).remaining == 89


def test_a_changed_limit_of_the_key_outdates_what_is_known():
    """A dry lot asks again at once, one in use with its next spend."""
    empty, full = dry(1), filled(600)
    for lot, limit in ((empty, 600), (full, 5)):
        lot.key_says(limit)
    assert not empty.dry(0.0)
    assert full.spend(0.0)
    assert full.low(0.0)
    full.ask(0.0)
    full.take_in(Lease(5, 0, 0, 0, 9, EPOCH), 0.0)
    assert full.unsaid(0.0)
    assert full.ask(0.0) == Ask(held=1, returned=8, wanted=0)


def test_an_answer_by_another_limit_than_the_keys_is_looked_at_again_in_a_second():
    """It may be from just before the change, and would refuse for a minute."""
    lot = Lot(1, 600)
    lot.ask(0.0)
    lot.take_in(Lease(1, 0, 0.0, 0, 0, EPOCH), 0.0)
    assert lot.dry(0.9)
    assert not lot.dry(1.0)


def test_a_key_met_with_its_old_limit_outdates_nothing():
    """The database's word is newer than what is remembered of a key."""
    lot = dry(1)
    lot.key_says(1)
    assert lot.dry(0.0)


def test_a_key_that_is_gone_has_no_tokens():
    """It is refused, and nothing is remembered of it after a moment."""
    lot = Lot(1, 60)
    lot.ask(0.0)
    lot.take_in(None, 0.0)
    assert lot.dry(0.5)
    assert lot.resting(1.0)


def test_steps_of_the_spread_are_far_apart():
    """Two refused one after the other at the most are not told the same."""
    lot = dry(1)
    told = [lot.refuse(0.0, TAKEN).retry_after_seconds for _ in range(50)][1:]
    assert all(abs(one - other) > 2 for one, other in pairwise(told))
