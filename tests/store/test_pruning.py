"""Pruning: what ended longer ago than it is kept goes, whole, and nothing else."""

import pytest

from admission import gate, usage
from admission.demand import Demand
from orchestrator.domain import ids
from orchestrator.fanout import fan_out
from orchestrator.store import counters, group_actions, groups, parents, pruning, steering, strands
from orchestrator.store.parents import NewParent
from orchestrator.store.pruning import Pruned
from orchestrator.store.steering import Again, Erased
from tests import factories

pytestmark = pytest.mark.anyio

DAY = 86_400
WEEK = 7 * DAY
NOTHING = Pruned(0, 0)
ENDED = """
UPDATE parent SET finished_at = now() - %s * interval '1 second' WHERE id = ANY(%s)
"""


@pytest.fixture
async def owner(connection):
    return await factories.key(connection)


@pytest.fixture
async def lane(connection):
    return await factories.lane(connection)


@pytest.fixture(autouse=True)
async def _counted(connection):
    """Every counter equals a recount, whatever a test did; this session never waits for long."""
    await connection.execute("SET lock_timeout = '5s'")
    yield
    assert await counters.differences(connection) == []


async def make(connection, owner, cells, *, n=1, group=None, name=None):
    """Parents in the queue, perhaps of a group, perhaps with an idempotency key."""
    new = [
        NewParent(
            ids.new(),
            owner.id,
            factories.plan(len(cells)),
            cells,
            idempotency_key=name,
            fingerprint=name and b"print",
            group_id=group,
        )
        for _ in range(n)
    ]
    async with connection.transaction():
        await usage.lock(connection, [owner.id])
        await parents.insert(connection, new)
    return [one.id for one in new]


async def aged(connection, some, seconds=8 * DAY):
    """These ended so long ago."""
    await connection.execute(ENDED, [seconds, some])


async def completed(connection, owner, cells, *, age=8 * DAY, **fields):
    """Parents that completed so long ago."""
    made = await make(connection, owner, cells, **fields)
    await fan_out(connection)
    await factories.complete(connection, await factories.claim(connection, slots=10_000))
    await aged(connection, made, age)
    return made


async def new_group(connection, owner, name="night"):
    return (await groups.ensure(connection, [(owner.id, name)]))[owner.id, name]


async def prune(connection, **bounds):
    return await pruning.prune(connection, retention_seconds=WEEK, **bounds)


async def left(connection):
    """The parents there are, by id, and how many children."""
    cursor = await connection.execute("SELECT id FROM parent ORDER BY id")
    children = await factories.scalar(connection, "SELECT count(*) FROM child")
    return [parent for (parent,) in await cursor.fetchall()], children


async def cancel(session, owner, parent):
    async with session.transaction():
        return await steering.cancel(session, key_id=owner.id, parent=parent)


async def retry(session, owner, parent):
    """In a transaction of the caller's."""
    found = await steering.retryable(session, key_id=owner.id, parent=parent)
    if isinstance(found, Again):
        await gate.enter(session, Demand(owner.id), strands.resumes)
        await steering.again(session, found)
    return found


async def test_what_ended_before_the_retention_goes_with_its_children(connection, owner, lane):
    """A minute to either side of it decides."""
    await completed(connection, owner, [lane, lane], age=WEEK + 60)
    (young,) = await completed(connection, owner, [lane, lane], age=WEEK - 60)
    assert await prune(connection) == Pruned(1, 2)
    assert await left(connection) == ([young], 2)
    assert await prune(connection) == NOTHING


async def test_what_has_not_ended_stays_however_old_it_is(connection, owner, lane):
    """Waiting, running or between attempts: only an end starts the time it is kept."""
    running, between, waiting = await make(connection, owner, [lane], n=3)
    await fan_out(connection, parents=2)
    await factories.settle(
        connection, factories.retried((await factories.claim(connection))[1], delay_seconds=60)
    )
    await connection.execute("UPDATE parent SET created_at = created_at - interval '1 year'")
    assert await prune(connection) == NOTHING
    assert await left(connection) == (sorted([running, between, waiting]), 2)


async def test_a_parent_that_ended_in_the_queue_goes_too(connection, owner, lane):
    """It has no children to take with it."""
    (parent,) = await make(connection, owner, [lane, lane])
    await cancel(connection, owner, parent)
    await aged(connection, [parent])
    assert await prune(connection) == Pruned(1, 0)
    assert await left(connection) == ([], 0)


async def test_a_retried_parent_is_kept_from_its_next_end_on(connection, owner, lane):
    """Its first end was long ago; what runs again is not over."""
    (parent,) = await make(connection, owner, [lane])
    await cancel(connection, owner, parent)
    await aged(connection, [parent])
    async with connection.transaction():
        assert isinstance(await retry(connection, owner, parent), Again)
    assert await prune(connection) == NOTHING
    await cancel(connection, owner, parent)
    assert await prune(connection) == NOTHING
    await aged(connection, [parent])
    assert await prune(connection) == Pruned(1, 0)


async def test_a_batch_is_bounded_and_takes_the_oldest_first(connection, owner, lane):
    """So many parents a batch, until none is left."""
    made = await completed(connection, owner, [lane], n=5)
    for n, parent in enumerate(made):
        await aged(connection, [parent], WEEK + 60 * (n + 1))
    assert await prune(connection, parents=2) == Pruned(2, 2)
    assert await left(connection) == (sorted(made[:3]), 3)
    assert await prune(connection, parents=2) == Pruned(2, 2)
    assert await left(connection) == (made[:1], 1)
    assert await prune(connection, parents=2) == Pruned(1, 1)


async def test_a_batch_of_wide_parents_has_fewer_of_them(connection, owner, lane):
    """How long it takes hangs on the cells; one parent goes whole whatever it has."""
    made = await completed(connection, owner, [lane] * 10, n=4)
    for n, parent in enumerate(made):
        await aged(connection, [parent], 2 * WEEK - n)
    assert await prune(connection, cells=11) == Pruned(2, 20)
    assert await prune(connection, cells=1) == Pruned(1, 10)
    assert await left(connection) == (made[3:], 10)


async def test_what_a_key_used_outlives_it(connection, owner, lane):
    """Lifetime usage counts every cell ever accepted."""
    await completed(connection, owner, [lane, lane])
    await prune(connection)
    assert await factories.scalar(connection, "SELECT asked FROM inflight") == 2


async def test_an_idempotency_key_is_free_again(connection, owner, lane):
    """Until then a replay finds the parent; afterwards the same name makes another."""
    (parent,) = await completed(connection, owner, [lane], name="monday")
    (found,) = await parents.earlier(connection, [(owner.id, "monday")])
    assert found.id == parent
    await prune(connection)
    assert await parents.earlier(connection, [(owner.id, "monday")]) == [None]
    (other,) = await make(connection, owner, [lane], name="monday")
    assert await left(connection) == ([other], 0)


async def test_a_group_counts_what_is_left_of_it(connection, owner, lane):
    """With its last parent all its counts go; its name keeps its id, which others remember."""
    group = await new_group(connection, owner)
    await completed(connection, owner, [lane, lane], group=group)
    await completed(connection, owner, [lane], group=group, age=60)
    assert await prune(connection) == Pruned(1, 2)
    counted = await groups.counted(connection, group)
    assert (counted.parents["completed"], counted.cells["completed"]) == (1, 1)
    await connection.execute(ENDED, [WEEK + 60, (await left(connection))[0]])
    await prune(connection)
    assert await factories.scalar(connection, "SELECT count(*) FROM group_usage") == 0
    assert not await groups.inhabited(connection, group)
    assert await new_group(connection, owner) == group
    await make(connection, owner, [lane], group=group)
    assert (await groups.counted(connection, group)).parents["queued"] == 1


async def test_what_was_asked_of_a_group_is_forgotten_when_it_was_done_long_ago(connection, owner):
    """Not what is still to be done."""
    group = await new_group(connection, owner)
    for _ in range(3):
        await group_actions.request(connection, key_id=owner.id, group_id=group, kind="cancel")
    await connection.execute("UPDATE group_action SET finished_at = now() - id * interval '6 day'")
    await connection.execute("UPDATE group_action SET finished_at = NULL WHERE id = 3")
    kept = {"retention_seconds": WEEK}
    assert await pruning.forget_actions(connection, **kept) == 1
    assert await pruning.forget_actions(connection, **kept) == 0
    cursor = await connection.execute("SELECT id FROM group_action ORDER BY id")
    assert await cursor.fetchall() == [(1,), (3,)]


async def test_a_parent_in_other_hands_is_passed_over(connection, connect, owner, lane):
    """Pruning waits for nobody, and takes what is next instead."""
    held, free = await completed(connection, owner, [lane], n=2)
    api = await connect()
    async with api.transaction():
        await api.execute("SELECT FROM parent WHERE id = %s FOR NO KEY UPDATE", [held])
        assert await prune(connection, parents=1) == Pruned(1, 1)
        assert await prune(connection, parents=1) == NOTHING
    assert (await left(connection))[0] == [held] != [free]


async def test_two_pruners_at_once_take_different_parents(connection, connect, owner, lane):
    """Neither waits for the other."""
    await completed(connection, owner, [lane], n=4)
    other = await connect()
    async with other.transaction():
        assert await prune(other, parents=2) == Pruned(2, 2)
        assert await prune(connection, parents=2) == Pruned(2, 2)
    assert await left(connection) == ([], 0)


async def test_a_retry_that_comes_first_wins(connection, connect, owner, lane):
    """The pruner passes over what runs again, before the retry is committed and after."""
    (parent,) = await make(connection, owner, [lane])
    await cancel(connection, owner, parent)
    await aged(connection, [parent])
    api = await connect()
    async with api.transaction():
        assert isinstance(await retry(api, owner, parent), Again)
        assert await prune(connection) == NOTHING
    assert await prune(connection) == NOTHING
    assert await left(connection) == ([parent], 0)


async def test_a_retry_that_meets_a_prune_finds_nothing(connection, connect, meeting, owner, lane):
    """It takes no place for what is gone."""
    (parent,) = await make(connection, owner, [lane])
    await cancel(connection, owner, parent)
    await aged(connection, [parent])
    worker, api = await connect(), await connect()

    async def again():
        async with api.transaction():
            return await retry(api, owner, parent)

    async with worker.transaction():
        assert await prune(worker) == Pruned(1, 0)
        retrying = await meeting.begin(api, again())
        assert not retrying.done()
    assert await retrying is None
    assert await factories.scalar(connection, "SELECT depth FROM usage") == 0


async def test_an_erasure_that_meets_a_prune_finds_nothing(
    connection, connect, meeting, owner, lane
):
    """And the other way round: whoever comes first deletes it."""
    one, other = await completed(connection, owner, [lane], n=2)
    worker, api = await connect(), await connect()

    async def erase(parent):
        async with api.transaction():
            return await steering.erase(api, key_id=owner.id, parent=parent)

    async with worker.transaction():
        await prune(worker, parents=1)
        ((kept,), _) = await left(worker)
        gone = other if kept == one else one
        erasing = await meeting.begin(api, erase(gone))
        assert not erasing.done()
    assert await erasing is None
    async with api.transaction():
        assert await steering.erase(api, key_id=owner.id, parent=kept) == Erased()
        assert await prune(connection) == NOTHING
    assert await left(connection) == ([], 0)


async def test_an_outcome_that_comes_long_after_the_end_finds_nothing(
    connection, connect, meeting, owner, lane
):
    """A worker that slept through its own death and the retention changes nothing, nor fails."""
    (parent,) = await make(connection, owner, [lane])
    await fan_out(connection)
    (child,) = await factories.claim(connection)
    await factories.complete(connection, [child])
    await aged(connection, [parent])
    worker, sleeper = await connect(), await connect()
    async with worker.transaction():
        assert await prune(worker) == Pruned(1, 1)
        settling = await meeting.begin(sleeper, factories.complete(sleeper, [child]))
        assert not settling.done()
    assert (await settling).children == 0
    assert await left(connection) == ([], 0)


async def erased(session):
    """The parent that ended longest ago."""
    cursor = await session.execute("SELECT id, key_id FROM parent ORDER BY finished_at LIMIT 1")
    ((parent, key),) = await cursor.fetchall()
    async with session.transaction():
        assert await steering.erase(session, key_id=key, parent=parent) == Erased()


@pytest.fixture
async def grouped(connection, owner, lane):
    """Three parents of a group: one failed, one canceled, one half this half that, long ago."""
    group = await new_group(connection, owner)
    first, second = await make(connection, owner, [lane], n=2, group=group)
    (old,) = await make(connection, owner, [lane, lane], group=group)
    await cancel(connection, owner, second)
    await fan_out(connection)
    claimed = await factories.claim(connection, slots=2)
    await factories.settle(connection, *map(factories.failed, claimed))
    await cancel(connection, owner, old)
    await aged(connection, [old])
    return owner, (first, second, old), group


@pytest.mark.parametrize("how", [prune, erased])
async def test_who_deletes_from_a_group_waits_for_who_retries_it(
    connection, connect, meeting, grouped, how
):
    """A steward that retries its parents one by one has its counters in no order: no deadlock."""
    owner, (first, second, old), group = grouped
    steward, other = await connect(), await connect()
    async with steward.transaction():
        assert isinstance(await retry(steward, owner, first), Again)
        deleting = await meeting.begin(other, how(other))
        assert not deleting.done()
        assert isinstance(await retry(steward, owner, second), Again)
    await deleting
    assert (await groups.counted(connection, group)).parents["queued"] == 2
    assert await parents.read(connection, key_id=owner.id, parent=old) is None
