"""The request rate over several processes: their books on one real database."""

import asyncio
import functools
import gc
import time
from contextlib import asynccontextmanager
from typing import Any

import pytest

from admission import keys, leases
from admission.book import Book
from admission.rate import GOOD_SECONDS, Ask
from admission.refusals import Taken
from orchestrator import snapshot
from orchestrator.errors import DatabaseUnavailableError
from tests import factories
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

TAKEN = Taken(sync_limit=8, sync_running=0, depth=0)
LEASED = "SELECT coalesce(sum(tokens), 0)::int FROM rate_lot WHERE key_id = %s"
BUCKET = "SELECT tokens FROM rate_bucket WHERE key_id = %s"
LATER = "UPDATE rate_bucket SET filled_at = filled_at - %s WHERE key_id = %s"
SILENT = "UPDATE rate_lot SET leased_at = leased_at - %s WHERE node = %s"


class Clock:
    """A process's clock that can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@asynccontextmanager
async def opened(pool, node, *, clock=time.monotonic):
    """The book of a process."""
    book = Book(pool, lambda: node, clock=clock)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(book.run())
        yield book
        book.close()


async def drained(book, owner, *, most=10_000) -> int:
    """How many requests pass before one is refused."""
    lot = book.lot(owner)
    for passed in range(most):
        if not await book.take(lot):
            return passed
    return most


async def settled(connection, owner, held):
    """Return when exactly so many tokens are out in lots."""

    async def look():
        return await factories.scalar(connection, LEASED, owner.id) == held

    await eventually(look)


@pytest.mark.parametrize("limit", [1, 5, 59, 130])
async def test_a_process_alone_passes_exactly_the_limit(connection, new_pool, limit):
    """The bucket of a new key is full: as many pass as it holds, and the next one is refused."""
    owner = await factories.key(connection, requests_per_minute=limit)
    async with opened(await new_pool(), 1) as book:
        began = time.monotonic()
        passed = await drained(book, owner)
        refilled = (time.monotonic() - began) * limit / 60
    assert limit <= passed <= limit + refilled


async def test_a_crowd_at_once_passes_exactly_the_limit(connection, new_pool):
    """Requests that wait for the same lease share what it brings."""
    owner = await factories.key(connection, requests_per_minute=20)
    async with opened(await new_pool(), 1) as book:
        lot = book.lot(owner)
        passed = await asyncio.gather(*(book.take(lot) for _ in range(50)))
    assert sum(passed) == 20


async def test_two_processes_never_pass_more_and_at_most_a_lot_less(connection, new_pool):
    """Whoever asks first: together they stay in the bucket, and one lot each may be left over."""
    owner = await factories.key(connection, requests_per_minute=120)
    async with opened(await new_pool(), 1) as one, opened(await new_pool(), 2) as two:
        began = time.monotonic()
        passed = await asyncio.gather(
            *(book.take(book.lot(owner)) for _ in range(100) for book in (one, two))
        )
        refilled = (time.monotonic() - began) * 2
    assert 120 - 2 * 2 <= sum(passed) <= 120 + refilled


async def test_a_lease_that_waited_for_another_sees_what_it_took(connection, connect, meeting):
    """Two leases of one bucket at the same instant: what one was granted is gone for the other."""
    owner = await factories.key(connection, requests_per_minute=5)
    await dead(connection, owner, node=3)
    first, second = await connect(), await connect()

    async def lease(session, node):
        async with session.transaction():
            return (await leases.lease(session, node, {owner.id: Ask(0, 0, 5)}))[owner.id].granted

    async with first.transaction():
        await first.execute("SELECT FROM rate_bucket FOR NO KEY UPDATE")
        waiting = await meeting.begin(second, lease(second, 2))
        assert not waiting.done()
        one = (await leases.lease(first, 1, {owner.id: Ask(0, 0, 3)}))[owner.id]
    assert (one.granted, await waiting) == (3, 1)


async def test_processes_that_lease_many_keys_in_any_order_do_not_deadlock(connection, new_pool):
    """Buckets are made and locked in the order of their keys."""
    owners = [await factories.key(connection) for _ in range(40)]
    async with opened(await new_pool(), 1) as one, opened(await new_pool(), 2) as two:
        for _ in range(5):
            passed = await asyncio.gather(
                *(one.take(one.lot(owner)) for owner in owners),
                *(two.take(two.lot(owner)) for owner in reversed(owners)),
            )
            assert all(passed)


async def test_requests_of_many_keys_share_a_transaction(connection, new_pool):
    """A hundred keys that come at once cost one lease, not a hundred."""
    owners = [await factories.key(connection) for _ in range(100)]
    pool = await new_pool()
    async with opened(pool, 1) as book:
        before = pool.get_stats().get("requests_num", 0)
        await asyncio.gather(*(book.take(book.lot(owner)) for owner in owners))
        assert pool.get_stats()["requests_num"] - before <= 2


async def test_full_and_other_buckets_share_a_transaction(connection):
    """A new key's bucket holds a whole number of tokens, one that was drawn on hardly ever."""
    new, used = [(await factories.key(connection)).id for _ in range(2)]
    asks = {new: Ask(0, 0, 5), used: Ask(0, 0, 5)}
    for _ in range(2):
        async with connection.transaction():
            given = await leases.lease(connection, 1, asks)
        assert [given[key].granted for key in (new, used)] == [5, 5]
        await connection.execute("UPDATE rate_bucket SET tokens = 7.5 WHERE key_id = %s", [used])


async def test_in_ordinary_use_no_request_pays_a_round_trip(connection, new_pool):
    """After the first, requests find a token at hand; half a lot costs no lease at all."""
    owner = await factories.key(connection, requests_per_minute=6000)
    pool = await new_pool()
    async with opened(pool, 1) as book:
        lot = book.lot(owner)
        assert await book.take(lot)
        assert all(book.try_take(lot) for _ in range(49))
        assert pool.get_stats()["requests_num"] == 1


async def test_a_flood_of_refused_requests_costs_no_database_work(connection, new_pool):
    """Refused is refused until the next token is due, without asking."""
    owner = await factories.key(connection, requests_per_minute=1)
    pool = await new_pool()
    async with opened(pool, 1) as book:
        lot = book.lot(owner)
        assert await drained(book, owner) == 1
        await settled(connection, owner, 0)
        before = pool.get_stats()["requests_num"]
        for _ in range(1000):
            assert not await book.take(lot)
            assert book.refuse(lot, TAKEN).retry_after_seconds >= 45
        assert pool.get_stats()["requests_num"] - before <= 1


async def test_a_refusal_costs_no_token(connection, new_pool):
    """Twelve seconds at five a minute bring one token, however many were refused before."""
    owner = await factories.key(connection, requests_per_minute=5)
    pool, clock = await new_pool(), Clock()
    async with opened(pool, 1, clock=clock) as book:
        assert await drained(book, owner) == 5
        for _ in range(30):
            assert not await book.take(book.lot(owner))
        await settled(connection, owner, 0)
        await connection.execute(LATER, [12, owner.id])
        clock.ahead = 12.5
        assert await drained(book, owner) == 1


async def test_a_new_bucket_is_made_with_the_first_request(connection, new_pool):
    """Lazily; until then the snapshot shows a full one."""
    owner = await factories.key(connection, requests_per_minute=60)
    assert (await snapshot.take(connection, owner.id)).request_rate.remaining == 60
    assert await factories.scalar(connection, "SELECT count(*) FROM rate_bucket") == 0
    async with opened(await new_pool(), 1) as book:
        assert await book.take(book.lot(owner))
    assert await factories.scalar(connection, "SELECT count(*) FROM rate_bucket") == 1


async def test_an_idle_process_holds_nothing(connection, new_pool):
    """After a second without a request its lot is back, and another process can have all."""
    owner = await factories.key(connection, requests_per_minute=5)
    clock = Clock()
    async with (
        opened(await new_pool(), 1, clock=clock) as idle,
        opened(await new_pool(), 2) as other,
    ):
        assert await idle.take(idle.lot(owner))
        await settled(connection, owner, 1)
        clock.ahead = 2
        await settled(connection, owner, 0)
        assert await drained(other, owner) == 4


async def test_a_process_that_ends_gives_everything_back(connection, new_pool):
    """Also what it spent is told: nothing is out of anybody's reach."""
    owner = await factories.key(connection, requests_per_minute=5)
    async with opened(await new_pool(), 1) as book:
        assert await book.take(book.lot(owner))
    assert await factories.scalar(connection, LEASED, owner.id) == 0
    assert 4 <= await factories.scalar(connection, BUCKET, owner.id) < 5


@pytest.mark.parametrize(("silent_seconds", "passed"), [(0, 4), (15, 4), (18, 5)])
async def test_the_lot_of_a_dead_process_counts_for_a_while_and_then_no_more(
    connection, new_pool, silent_seconds, passed
):
    """While it may still spend, its token is out of reach; when it cannot any more, it is lost."""
    owner = await factories.key(connection, requests_per_minute=5)
    await dead(connection, owner, node=1)
    await connection.execute(LATER, [60, owner.id])
    await connection.execute(SILENT, [silent_seconds, 1])
    async with opened(await new_pool(), 2) as book:
        assert await drained(book, owner) == passed


async def dead(connection, owner, *, node):
    """A process dies with a token of this key in its lot."""
    async with connection.transaction():
        await leases.lease(connection, node, {owner.id: Ask(0, 0, 1)})


async def test_a_process_that_slept_does_not_spend_its_old_lot(connection, new_pool):
    """What it held may be anybody's by now: it leases anew."""
    owner = await factories.key(connection, requests_per_minute=600)
    clock = Clock()
    async with opened(await new_pool(), 1, clock=clock) as book:
        lot = book.lot(owner)
        assert await book.take(lot)
        assert book.try_take(lot)
        clock.ahead = GOOD_SECONDS
        assert not book.try_take(lot)
        assert await book.take(lot)


async def test_lots_of_processes_silent_for_long_are_deleted(connection):
    """And no others: the table stays as small as what is in use."""
    owner = await factories.key(connection)
    for node in (1, 2):
        await dead(connection, owner, node=node)
    await connection.execute(SILENT, [leases.FORGOTTEN_SECONDS, 1])
    assert await leases.forget_dead(connection) == 1
    assert await leases.forget_dead(connection) == 0
    assert await factories.scalar(connection, "SELECT node FROM rate_lot") == 2


async def test_a_lowered_limit_holds_in_every_process(connection, new_pool):
    """From 600 to 3: whatever the bucket had, three pass, and what a process held is returned."""
    owner = await factories.key(connection, requests_per_minute=600)
    async with opened(await new_pool(), 1) as one, opened(await new_pool(), 2) as two:
        for book in (one, two):
            assert await book.take(book.lot(owner))
        now = await keys.set_limits(connection, owner, owner.limits._replace(requests_per_minute=3))
        lots = [book.lot(now) for book in (one, two)]
        one.sweep()
        two.sweep()

        async def known():
            return all(lot.limit == 3 and lot.hand <= 1 for lot in lots)

        await eventually(known)
        assert await drained(one, now) + await drained(two, now) <= 3


async def test_a_raised_limit_opens_a_process_that_refuses(connection, new_pool):
    """From 1 to 600: the next request is served, not told to wait out its minute."""
    owner = await factories.key(connection, requests_per_minute=1)
    async with opened(await new_pool(), 1) as book:
        assert await drained(book, owner) == 1
        await settled(connection, owner, 0)
        now = await keys.set_limits(
            connection, owner, owner.limits._replace(requests_per_minute=600)
        )

        async def served():
            return await book.take(book.lot(now))

        await eventually(served, seconds=5)
        assert book.lot(now).limit == 600


async def test_a_lot_in_use_learns_of_a_changed_limit_by_itself(connection, new_pool):
    """Also where the key is remembered with its old limit: every second it is spoken of."""
    owner = await factories.key(connection, requests_per_minute=6000)
    clock = Clock()
    async with opened(await new_pool(), 1, clock=clock) as book:
        lot = book.lot(owner)
        assert await book.take(lot)
        await keys.set_limits(connection, owner, owner.limits._replace(requests_per_minute=60))
        clock.ahead = 1
        assert book.try_take(lot)
        book.sweep()

        async def known():
            return lot.limit == 60

        await eventually(known)


async def test_the_database_shows_what_the_process_knows(connection, new_pool):
    """A snapshot's bucket and lots, less what was spent here since, are what the header says."""
    owner = await factories.key(connection, requests_per_minute=6)
    async with opened(await new_pool(), 1) as book, opened(await new_pool(), 2) as other:
        assert await other.take(other.lot(owner))
        await settled(connection, owner, 1)
        lot = book.lot(owner)
        for left in (4, 3):
            assert await book.take(lot)
            observe = functools.partial(book.observe, lot)
            taken = await snapshot.take(connection, owner.id, node=1, observe=observe)
            assert (taken.request_rate.limit, taken.request_rate.remaining) == (6, left)
            assert lot.view(time.monotonic(), time.time()).remaining == left


async def test_who_waits_while_the_database_is_away_is_told_and_the_next_is_served(
    connection, new_pool
):
    """A failed lease is raised at its requests, once; the lot lives on."""
    owner = await factories.key(connection, requests_per_minute=600)
    away = True

    def node() -> int:
        if away:
            raise DatabaseUnavailableError
        return 1

    book = Book(await new_pool(), node)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(book.run())
        crowd = (book.take(book.lot(owner)) for _ in range(5))
        got = await asyncio.gather(*crowd, return_exceptions=True)
        assert [type(one) for one in got] == [DatabaseUnavailableError] * 5
        away = False
        assert await book.take(book.lot(owner))
        book.close()


async def test_a_lease_that_came_too_late_is_asked_for_anew(connection, new_pool):
    """Its answer outlived, a request asks again; it does not wait for what is over for ever."""
    owner = await factories.key(connection, requests_per_minute=600)
    clock = Clock()
    async with opened(await new_pool(), 1, clock=clock) as book:
        lot = book.lot(owner)
        await book._ask(lot)
        clock.ahead += GOOD_SECONDS
        over = asyncio.get_running_loop().create_future()
        over.set_result(None)
        book._asking[lot.key_id] = over
        assert await book.take(lot)


async def test_a_lease_for_later_that_fails_is_raised_at_nobody(connection, new_pool):
    """While tokens are at hand requests are served without the database."""
    unheard: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    owner = await factories.key(connection, requests_per_minute=600)
    pool = await new_pool()
    async with opened(pool, 1) as book:
        lot = book.lot(owner)
        assert await book.take(lot)
        await pool.close()
        assert all([await book.take(lot) for _ in range(10)])
    gc.collect()
    assert unheard == []


async def test_a_caller_who_leaves_while_waiting_takes_nothing_with_it(connection, new_pool):
    """The others are served, and its token is there for the next."""
    owner = await factories.key(connection, requests_per_minute=2)
    async with opened(await new_pool(), 1) as book:
        leaving = asyncio.create_task(book.take(book.lot(owner)))
        staying = asyncio.create_task(book.take(book.lot(owner)))
        await asyncio.sleep(0)
        leaving.cancel()
        assert await staying
        assert await book.take(book.lot(owner))
        assert not await book.take(book.lot(owner))


async def test_who_comes_as_a_lease_is_being_answered_waits_for_the_next(connection, new_pool):
    """Between the answer and its consequences a request does not hold the process up."""
    owner = await factories.key(connection)
    async with opened(await new_pool(), 1) as book:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[None] = loop.create_future()
        book._asking[owner.id] = answered
        answered.add_done_callback(lambda _: book._asking.pop(owner.id))
        answered.set_result(None)
        assert await book.take(book.lot(owner))


async def test_a_key_that_is_gone_is_refused(connection, new_pool):
    """And spoils nothing for the keys leased with it."""
    owner, gone = [await factories.key(connection) for _ in range(2)]
    gone = gone._replace(id=4711)
    async with opened(await new_pool(), 1) as book:
        passed = await asyncio.gather(*(book.take(book.lot(one)) for one in (gone, owner)))
    assert passed == [False, True]
