"""Two sessions that meet where one of them cancels, retries or erases.

One holds what the other needs; the other is seen to wait, or not to; then the first commits.
"""

import pytest

from admission import gate
from admission.demand import Demand
from orchestrator.domain.states import ParentState
from orchestrator.fanout import fan_out
from orchestrator.store import children, parents, steering, strands
from orchestrator.store.steering import Again, Canceled, Erased, NotDismissible, NotEnded
from tests import factories

pytestmark = pytest.mark.anyio


@pytest.fixture
async def owner(connection):
    return await factories.key(connection)


@pytest.fixture
async def lane(connection):
    return await factories.lane(connection)


@pytest.fixture(autouse=True)
async def _counted(recounted):
    """Every counter equals a recount, whoever met whom."""
    yield
    await recounted()


async def cancel(session, owner, parent):
    async with session.transaction():
        return await steering.cancel(session, key_id=owner.id, parent=parent)


async def erase(session, owner, parent):
    async with session.transaction():
        return await steering.erase(session, key_id=owner.id, parent=parent)


async def retry(session, owner, parent):
    """In a transaction of the caller's."""
    found = await steering.retryable(session, key_id=owner.id, parent=parent)
    if isinstance(found, Again):
        await gate.enter(session, Demand(owner.id), strands.resumes)
        await steering.again(session, found)
    return found


async def rescue(session):
    async with session.transaction():
        return await children.rescue(session)


async def state(connection, owner, parent):
    found = await parents.read(connection, key_id=owner.id, parent=parent)
    return found.state if found else None


async def flags(connection, parent):
    return [child.stop for child in await children.of(connection, parent)]


async def test_a_cancel_that_meets_a_fan_out_stops_the_children_it_made(
    connection, connect, meeting, owner, lane
):
    """It waits for the fan-out, and sees what that left: nothing of the parent starts."""
    parent = await factories.parent(connection, owner, [lane, lane])
    dispatcher, api = await connect(), await connect()
    async with dispatcher.transaction():
        assert await fan_out(dispatcher) == 2
        canceling = await meeting.begin(api, cancel(api, owner, parent))
        assert not canceling.done()
    assert isinstance(await canceling, Canceled)
    assert await factories.states(connection, parent) == ["canceled", "canceled"]
    assert await state(connection, owner, parent) is ParentState.CANCELED
    assert await factories.claim(connection) == []


async def test_a_cancel_that_meets_a_claim_tells_what_it_started(
    connection, connect, meeting, owner, lane
):
    """A child that is claimed meanwhile is told to stop, and the others end."""
    parent = await factories.parent(connection, owner, [lane, lane])
    await fan_out(connection)
    node = await factories.node(connection)
    runner, api = await connect(), await connect()
    async with runner.transaction():
        (child,) = await factories.claim(runner, by=node, slots=1)
        canceling = await meeting.begin(api, cancel(api, owner, parent))
        assert not canceling.done()
    assert isinstance(await canceling, Canceled)
    assert await factories.states(connection, parent) == ["processing", "canceled"]
    assert await flags(connection, parent) == ["canceled", "canceled"]
    await factories.settle(connection, factories.retried(child))
    assert await state(connection, owner, parent) is ParentState.CANCELED


async def test_a_claim_that_meets_a_cancel_starts_nothing_of_it(
    connection, connect, meeting, owner, lane
):
    """It passes over what is locked and takes what is not."""
    first, second = await factories.some_parents(connection, owner, [lane], n=2)
    await fan_out(connection)
    node = await factories.node(connection)
    runner, api = await connect(), await connect()
    async with api.transaction():
        await steering.cancel(api, key_id=owner.id, parent=first)
        claiming = await meeting.begin(runner, factories.claim(runner, by=node))
    assert [child.parent_id for child in await claiming] == [second]


async def test_a_settle_that_meets_a_cancel_ends_what_it_would_try_again(
    connection, connect, meeting, owner, lane
):
    """It waits for the cancel and reads what that told the child."""
    parent = await factories.parent(connection, owner, [lane])
    await fan_out(connection)
    (child,) = await factories.claim(connection)
    worker, api = await connect(), await connect()
    async with api.transaction():
        await steering.cancel(api, key_id=owner.id, parent=parent)
        outcome = factories.retried(child)
        settling = await meeting.begin(worker, factories.settle(worker, outcome))
        assert not settling.done()
    assert list((await settling).parents) == [parent]
    assert await factories.states(connection, parent) == ["canceled"]


async def test_a_rescue_that_meets_a_cancel_queues_nothing_again(
    connection, connect, meeting, owner, lane
):
    """What was told to stop ends with its dead node."""
    parent = await factories.parent(connection, owner, [lane])
    await fan_out(connection)
    dead = await factories.node(connection, age_seconds=60)
    await factories.claim(connection, by=dead)
    worker, api = await connect(), await connect()
    async with api.transaction():
        await steering.cancel(api, key_id=owner.id, parent=parent)
        rescuing = await meeting.begin(worker, rescue(worker))
        assert not rescuing.done()
    assert (await rescuing).stopped == 1
    assert await state(connection, owner, parent) is ParentState.CANCELED


async def test_an_erasure_that_meets_a_retry_leaves_the_new_run(
    connection, connect, meeting, owner, lane
):
    """It waits for the retry, and the parent has not ended any more."""
    parent = await factories.parent(connection, owner, [lane])
    await cancel(connection, owner, parent)
    first, second = await connect(), await connect()
    async with first.transaction():
        assert isinstance(await retry(first, owner, parent), Again)
        erasing = await meeting.begin(second, erase(second, owner, parent))
        assert not erasing.done()
    assert isinstance(await erasing, NotEnded)
    assert await state(connection, owner, parent) is ParentState.QUEUED


async def test_a_retry_that_meets_an_erasure_finds_nothing(
    connection, connect, meeting, owner, lane
):
    """It takes no place for what is gone."""
    parent = await factories.parent(connection, owner, [lane])
    await cancel(connection, owner, parent)
    first, second = await connect(), await connect()

    async def again():
        async with second.transaction():
            return await retry(second, owner, parent)

    async with first.transaction():
        assert isinstance(await steering.erase(first, key_id=owner.id, parent=parent), Erased)
        retrying = await meeting.begin(second, again())
        assert not retrying.done()
    assert await retrying is None
    assert await factories.scalar(connection, "SELECT depth FROM usage") == 0


async def test_two_retries_at_once_start_one_run(connection, connect, meeting, owner, lane):
    """The second finds that the parent has not ended, and takes no place."""
    parent = await factories.parent(connection, owner, [lane])
    await cancel(connection, owner, parent)
    first, second = await connect(), await connect()

    async def again():
        async with second.transaction():
            return await retry(second, owner, parent)

    async with first.transaction():
        assert isinstance(await retry(first, owner, parent), Again)
        retrying = await meeting.begin(second, again())
        assert not retrying.done()
    assert not isinstance(await retrying, Again)
    assert await factories.scalar(connection, "SELECT depth FROM usage") == 1


async def task(connection, owner, *, ready):
    """A task of a queue, in it or ready to be called."""
    lane = await factories.lane(connection, "GLOBAL", surface="queue_default")
    made = await factories.new_waiting(connection, owner, [lane], queue="mine")
    if ready:
        await fan_out(connection)
    return made


async def dismiss(session, owner, parent):
    async with session.transaction():
        return await steering.dismiss(session, key_id=owner.id, parent=parent)


QUEUE = ("queue_default",)


async def test_a_claim_that_meets_a_dismissal_starts_nothing(connection, connect, meeting, owner):
    """It passes over the task, which is gone when the other commits."""
    made = await task(connection, owner, ready=True)
    node = await factories.node(connection, surfaces=QUEUE)
    runner, api = await connect(), await connect()
    async with api.transaction():
        await steering.dismiss(api, key_id=owner.id, parent=made)
        claiming = factories.claim(runner, by=node, surfaces=QUEUE)
        assert await (await meeting.begin(runner, claiming)) == []
    assert await factories.claim(connection, by=node, surfaces=QUEUE) == []
    assert await state(connection, owner, made) is None


async def test_a_dismissal_that_meets_a_claim_finds_it_called(connection, connect, meeting, owner):
    """It waits for the claim, and leaves the task as it is."""
    made = await task(connection, owner, ready=True)
    node = await factories.node(connection, surfaces=QUEUE)
    runner, api = await connect(), await connect()
    async with runner.transaction():
        assert await factories.claim(runner, by=node, surfaces=QUEUE)
        dismissing = await meeting.begin(api, dismiss(api, owner, made))
        assert not dismissing.done()
    assert await dismissing == NotDismissible()
    assert await state(connection, owner, made) is ParentState.PROCESSING


async def test_a_fan_out_that_meets_a_dismissal_makes_no_child(connection, connect, meeting, owner):
    """It passes over what is locked."""
    made = await task(connection, owner, ready=False)
    dispatcher, api = await connect(), await connect()
    async with api.transaction():
        await steering.dismiss(api, key_id=owner.id, parent=made)
        assert await (await meeting.begin(dispatcher, fan_out(dispatcher))) == 0
    assert await factories.scalar(connection, "SELECT count(*) FROM child") == 0


async def test_two_dismissals_at_once_are_one(connection, connect, meeting, owner):
    """The second finds nothing."""
    made = await task(connection, owner, ready=False)
    first, second = await connect(), await connect()
    async with first.transaction():
        await steering.dismiss(first, key_id=owner.id, parent=made)
        other = await meeting.begin(second, dismiss(second, owner, made))
        assert not other.done()
    assert await other is None
