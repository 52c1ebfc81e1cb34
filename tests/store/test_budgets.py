"""Credits and quotas, as the rows say them whatever becomes of the jobs that took them."""

import asyncio

import pytest
from psycopg.errors import CheckViolation

from admission import gate, keys, usage
from admission.budget import OverQuota, Unaffordable
from admission.deciding import Stored
from orchestrator import submission
from orchestrator.fanout import fan_out
from orchestrator.store import counters, parents, steering, strands
from orchestrator.store.children import Completed
from orchestrator.store.parents import Caller
from orchestrator.submission import Accepted, Conflict, Replayed
from tests import factories
from tests.store.test_admission_batch import named, priced, served

pytestmark = pytest.mark.anyio
FIVE = priced(5)


@pytest.fixture(autouse=True)
async def _counted(connection):
    """Every counter equals a recount, whatever a test did."""
    yield
    assert await counters.differences(connection) == []


async def owner_of(connection, free, **limits):
    """A key with so many credits."""
    owner = await factories.key(connection, **limits)
    return await keys.set_credits(connection, owner, free)


async def balance(connection, owner):
    """Free, held and charged."""
    statement = "SELECT credits, held, charged FROM usage WHERE key_id = %s"
    return await (await connection.execute(statement, [owner.id])).fetchone()


async def used(connection, owner):
    """Cells of this day and this month."""
    statement = "SELECT used_day, used_month FROM usage WHERE key_id = %s"
    return await (await connection.execute(statement, [owner.id])).fetchone()


def cells(n, **fields):
    return submission.new(factories.plan(n, **fields))


async def admitted(door, owner, n, **fields):
    """The id of a parent of so many cells at five credits each."""
    taken = await door.submit(owner, cells(n, **fields), FIVE)
    assert isinstance(taken, Accepted)
    return taken.parent


async def at_work(connection):
    """All there is, claimed."""
    await fan_out(connection)
    return await factories.claim(connection)


def shown(child):
    return Completed(factories.fence(child), factories.CAPTURE, charge=5)


def absent(child):
    return Completed(factories.fence(child), factories.CAPTURE, charge=0)


async def test_credits_are_held_charged_and_what_is_left_is_free_again(connection, new_pool):
    """At admission, with each cell that shows something, and at the job's end."""
    owner = await owner_of(connection, 100)
    async with served(await new_pool()) as (door,):
        await admitted(door, owner, 4)
    assert await balance(connection, owner) == (80, 20, 0)
    one, two, three, four = await at_work(connection)
    await factories.settle(connection, shown(one))
    assert await balance(connection, owner) == (80, 15, 5)
    await factories.settle(connection, absent(two), factories.failed(three))
    assert await balance(connection, owner) == (80, 15, 5)
    await factories.settle(connection, factories.failed(four))
    assert await balance(connection, owner) == (95, 0, 5)


async def test_what_is_settled_twice_is_charged_once(connection, new_pool):
    """A stale outcome changes nothing, here as elsewhere."""
    owner = await owner_of(connection, 10)
    async with served(await new_pool()) as (door,):
        await admitted(door, owner, 1)
    (child,) = await at_work(connection)
    for _ in range(3):
        await factories.settle(connection, shown(child), shown(child))
    assert await balance(connection, owner) == (5, 0, 5)


@pytest.mark.parametrize("claimed", [False, True])
async def test_what_is_canceled_costs_nothing_but_what_was_shown(connection, new_pool, claimed):
    """In the queue, and at work with one cell done."""
    owner = await owner_of(connection, 20)
    async with served(await new_pool()) as (door,):
        parent = await admitted(door, owner, 3)
    running = await at_work(connection) if claimed else []
    await factories.settle(connection, *map(shown, running[:1]))
    async with connection.transaction():
        await steering.cancel(connection, key_id=owner.id, parent=parent)
    await factories.settle(connection, *map(factories.given_back, running[1:]))
    assert await balance(connection, owner) == ((15, 0, 5) if claimed else (20, 0, 0))


async def test_too_few_credits_refuse_before_the_room_and_after_a_replay(connection, new_pool):
    """Nothing is taken by what is refused; a replay takes nothing and is refused nothing."""
    owner = await owner_of(connection, 7, queue_capacity=1)
    async with served(await new_pool()) as (door,):
        first = await door.submit(owner, named("k"), FIVE)
        assert isinstance(first, Accepted)
        assert await door.submit(owner, cells(1), FIVE) == Unaffordable(5, 2)
        again = await door.submit(owner, named("k"), FIVE)
        assert isinstance(again, Replayed)
        assert await door.submit(owner, named("k", priority=2), FIVE) == Conflict(first.parent)
    assert await balance(connection, owner) == (2, 5, 0)


async def test_credits_are_spent_exactly_over_two_doors(connection, new_pool):
    """Forty at once for the credits of ten: ten are admitted, sync ones and batches among them."""
    owner = await owner_of(connection, 53, sync_limit=100)
    node = await factories.api_node(connection)
    async with served(await new_pool(), await new_pool()) as doors:
        taken = await asyncio.gather(
            *(
                doors[n % 2].submit(
                    owner,
                    cells(1)._replace(caller=Caller(n + 1, node) if n % 3 == 0 else None),
                    FIVE,
                )
                for n in range(40)
            )
        )
    assert sum(isinstance(one, Accepted) for one in taken) == 10
    assert {one for one in taken if isinstance(one, Unaffordable)} == {Unaffordable(5, 3)}
    assert await balance(connection, owner) == (3, 50, 0)


async def test_what_is_stored_whole_is_paid_whole(connection, new_pool):
    """A batch, each item by itself or all of them; those that are there already cost nothing."""
    owner = await owner_of(connection, 12)
    async with served(await new_pool()) as (door,):
        batch = [named("k"), cells(1), cells(1)]
        whole = await door.submit_all(owner, batch, FIVE, whole=True)
        assert whole.none == Unaffordable(15, 12)
        each = await door.submit_all(owner, batch, FIVE)
        assert [type(one) for one in each.each] == [Accepted, Accepted, Unaffordable]
        again = await door.submit_all(owner, [named("k")], FIVE, whole=True)
        assert [type(one) for one in again.each] == [Replayed]
    assert await balance(connection, owner) == (2, 10, 0)


async def test_a_retry_holds_what_its_cells_may_cost(connection, new_pool):
    """Those that ended well are paid for or were free; too few credits refuse the retry."""
    owner = await owner_of(connection, 20)
    async with served(await new_pool()) as (door,):
        parent = await admitted(door, owner, 4)
    running = await at_work(connection)
    await factories.settle(
        connection,
        *(shown(running[0]), absent(running[1])),
        *map(factories.failed, running[2:]),
    )
    assert await balance(connection, owner) == (15, 0, 5)
    await keys.set_credits(connection, owner, 9)
    assert await again(connection, owner, parent) == Unaffordable(10, 9)
    await keys.set_credits(connection, owner, 10)
    assert await again(connection, owner, parent) == Stored()
    assert await balance(connection, owner) == (0, 10, 5)
    row = await parents.read(connection, key_id=owner.id, parent=parent)
    assert row
    assert (row.estimated, row.charged) == (15, 5)
    running = await at_work(connection)
    await factories.settle(connection, shown(running[0]), absent(running[1]))
    assert await balance(connection, owner) == (5, 0, 10)


async def again(connection, owner, parent):
    """What a retry of this parent is told."""
    async with connection.transaction():
        found = await steering.retryable(connection, key_id=owner.id, parent=parent)
        assert isinstance(found, steering.Again)
        told = await gate.enter(connection, found.demand(owner.id), strands.resumes)
        if told == Stored():
            await steering.again(connection, found)
        return told


async def test_credits_set_anew_stand_beside_those_held(connection, new_pool):
    """What runs was admitted: less for others takes nothing from it; nothing goes below zero."""
    owner = await owner_of(connection, 50)
    async with served(await new_pool()) as (door,):
        await admitted(door, owner, 4)
        await keys.set_credits(connection, owner, 0)
        assert await door.submit(owner, cells(1), FIVE) == Unaffordable(5, 0)
    running = await at_work(connection)
    await factories.settle(connection, *map(shown, running))
    assert await balance(connection, owner) == (0, 0, 20)


async def test_without_end_is_without_end(connection, new_pool):
    """What is unlimited stays so, whatever is held and charged."""
    owner = await factories.key(connection)
    async with served(await new_pool()) as (door,):
        await admitted(door, owner, 2)
    assert await balance(connection, owner) == (None, 10, 0)
    running = await at_work(connection)
    await factories.settle(connection, shown(running[0]), factories.failed(running[1]))
    assert await balance(connection, owner) == (None, 0, 5)


async def test_the_database_refuses_credits_below_zero(connection):
    """Behind all decisions stands a check."""
    owner = await factories.key(connection)
    with pytest.raises(CheckViolation):
        await keys.set_credits(connection, owner, -1)


async def test_quotas_count_cells_admitted(connection, new_pool):
    """Parents of several cells, sync ones and retries; no refusal, no replay, no cell that ends."""
    owner = await factories.key(connection, quota_daily=9, quota_monthly=100)
    node = await factories.api_node(connection)
    async with served(await new_pool()) as (door,):
        parent = await admitted(door, owner, 3)
        await door.submit(owner, named("k"), FIVE)
        await door.submit(owner, named("k"), FIVE)
        waiting = cells(2)._replace(caller=Caller(1, node))
        assert isinstance(await door.submit(owner, waiting, FIVE), Accepted)
        assert await used(connection, owner) == (6, 6)
        over = await door.submit(owner, cells(4), FIVE)
        assert isinstance(over, OverQuota)
        assert (over.quota.period, over.quota.limit, over.quota.used) == ("daily", 9, 6)
        running = await at_work(connection)
        await factories.settle(connection, *map(factories.failed, running))
        assert await used(connection, owner) == (6, 6)
        assert await again(connection, owner, parent) == Stored()
        assert await used(connection, owner) == (9, 9)
        assert isinstance(await door.submit(owner, cells(1), FIVE), OverQuota)


@pytest.mark.parametrize(
    ("back", "day", "month"), [("1 day", 2, 5), ("1 month", 2, 2), ("1 year", 2, 2)]
)
async def test_a_quota_begins_anew_with_its_day_or_month(connection, new_pool, back, day, month):
    """A day ago, or a month: what was used then counts for what it was in."""
    owner = await factories.key(connection, quota_daily=3, quota_monthly=5)
    async with served(await new_pool()) as (door,):
        await admitted(door, owner, 3)
        if back == "1 day":  # of the same month, on whatever day this runs
            earlier = "used_on = date_trunc('month', used_on), used_day = 0"
            later = "SELECT extract(day FROM now() AT TIME ZONE 'UTC') = 1"
            if await factories.scalar(connection, later):
                earlier = "used_day = 0"
        else:
            earlier = f"used_on = used_on - interval '{back}'"
        await connection.execute(f"UPDATE usage SET {earlier}")
        assert isinstance(await door.submit(owner, cells(4), FIVE), OverQuota)
        await admitted(door, owner, 2)
    assert await used(connection, owner) == (day, month)
    found = await usage.budget_of(connection, owner.id)
    assert [quota.used for quota in found.quotas] == [day, month]


async def test_a_quota_follows_its_key(connection, new_pool):
    """Set, raised and taken away while the key is in use."""
    owner = await factories.key(connection, quota_daily=1)
    async with served(await new_pool()) as (door,):
        await admitted(door, owner, 1)
        assert isinstance(await door.submit(owner, cells(1), FIVE), OverQuota)
        for daily in (2, None):
            changed = owner.limits._replace(quota_daily=daily)
            await keys.set_limits(connection, owner, changed)
            await admitted(door, owner, 1)
    assert (await keys.all_keys(connection))[0].limits.quota_daily is None


async def test_a_retry_of_a_lost_attempt_holds_nothing_more(connection, new_pool):
    """Between attempts a cell is held for once, like any."""
    owner = await owner_of(connection, 10)
    async with served(await new_pool()) as (door,):
        await admitted(door, owner, 2)
    one, two = await at_work(connection)
    await factories.settle(connection, factories.retried(one), factories.given_back(two))
    assert await balance(connection, owner) == (0, 10, 0)
