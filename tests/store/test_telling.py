"""What ends is told: once, in the transaction that ends it, to parents that have a webhook."""

import pytest
from psycopg.errors import UniqueViolation

from orchestrator.fanout import fan_out
from orchestrator.store import children, pruning, steering
from orchestrator.store.children.rescue import LOST_LIMIT
from orchestrator.store.steering import Again
from tests import factories
from tests.store import telling
from tests.store.telling import BOTH, CELLS_ONLY, PARENT_ONLY, told, waiting, working
from tests.store.test_steering import overdue, retry

pytestmark = pytest.mark.anyio


@pytest.fixture
async def owner(connection):
    return await factories.key(connection)


@pytest.fixture
async def lane(connection):
    return await factories.lane(connection)


async def cancel(connection, owner, parent, ordinal=None):
    async with connection.transaction():
        await steering.cancel(connection, key_id=owner.id, parent=parent, ordinal=ordinal)


@pytest.mark.parametrize("end", ["completed", "failed"])
async def test_a_settled_child_and_its_parent_are_told(connection, owner, lane, end):
    """One event a child, one for the parent with the last of them, each in its own end."""
    parent, (one, other) = await working(connection, owner, [lane, lane])
    outcome = factories.completed if end == "completed" else factories.failed
    await factories.settle(connection, outcome(one))
    assert await told(connection) == [(parent, 1, 1, end)]
    await factories.settle(connection, outcome(other))
    assert await told(connection) == [
        (parent, 1, 0, end),
        (parent, 1, 1, end),
        (parent, 1, 2, end),
    ]
    counts = "SELECT counts FROM delivery WHERE ordinal = 0"
    assert sum(await factories.scalar(connection, counts)) == 2
    assert (await factories.scalar(connection, counts))[end == "failed"] == 2


@pytest.mark.parametrize(
    ("webhook", "ordinals"), [(None, []), (BOTH, [0, 1]), (CELLS_ONLY, [1]), (PARENT_ONLY, [0])]
)
async def test_only_what_was_asked_for_is_told(connection, owner, lane, webhook, ordinals):
    """`events` chooses; without a webhook nothing is."""
    parent, claimed = await working(connection, owner, [lane], webhook)
    await factories.complete(connection, claimed)
    assert await told(connection) == [(parent, 1, n, "completed") for n in ordinals]


async def test_of_several_parents_in_one_flush_each_is_told_to_its_own(connection, lane):
    """Keys and endpoints are those of the parent; who has no webhook is told nothing."""
    owners = [await factories.key(connection) for _ in range(3)]
    claimed = []
    for owner, webhook in zip(owners, (BOTH, None, CELLS_ONLY), strict=True):
        claimed += (await working(connection, owner, [lane], webhook))[1]
    await factories.complete(connection, claimed)
    rows = await connection.execute("SELECT key_id, endpoint, ordinal FROM delivery ORDER BY 1, 3")
    first, third = owners[0], owners[2]
    assert await rows.fetchall() == [
        (first.id, telling.endpoint(first), 0),
        (first.id, telling.endpoint(first), 1),
        (third.id, telling.endpoint(third), 1),
    ]


async def test_what_is_not_an_end_is_not_told(connection, owner, lane):
    """Neither a retry, nor a child given back, nor a stale outcome."""
    _, (one, other) = await working(connection, owner, [lane, lane])
    stale = factories.completed(one._replace(claim=one.claim + 1))
    await factories.settle(connection, stale)
    await factories.settle(connection, factories.retried(one), factories.given_back(other))
    assert await told(connection) == []


async def test_an_end_settled_twice_is_told_once(connection, owner, lane):
    """The second outcome is stale, within a flush and after it."""
    _, (child,) = await working(connection, owner, [lane])
    await factories.settle(connection, factories.completed(child), factories.failed(child))
    await factories.settle(connection, factories.failed(child))
    ends = {end for *_, end in await told(connection)}
    assert len(ends) == 1
    assert len(await told(connection)) == 2


async def test_an_event_cannot_be_told_twice(connection, owner, lane):
    """The outbox itself refuses a second delivery of an event."""
    await telling.ended(connection, owner, lane)
    with pytest.raises(UniqueViolation):
        await connection.execute("INSERT INTO delivery SELECT * FROM delivery")


async def test_an_early_end_tells_of_all_it_cancels(connection, owner, lane):
    """What had not started ended with the completion; what runs is told of when it ends."""
    parent, claimed = await working(connection, owner, [lane] * 2, finish=1)
    await factories.settle(connection, factories.retried(claimed[1], delay_seconds=99))
    await factories.settle(connection, factories.completed(claimed[0]))
    assert await told(connection) == [
        (parent, 1, 0, "completed"),
        (parent, 1, 1, "completed"),
        (parent, 1, 2, "canceled"),
    ]


async def test_a_child_that_was_to_stop_is_told_of_when_it_does(connection, owner, lane):
    """Canceled while it ran: the event comes with its end."""
    parent, claimed = await working(connection, owner, [lane])
    await cancel(connection, owner, parent)
    assert await told(connection) == []
    await factories.settle(connection, factories.given_back(claimed[0]))
    assert await told(connection) == [(parent, 1, 0, "canceled"), (parent, 1, 1, "canceled")]


async def test_a_parent_that_waits_tells_of_itself_alone(connection, owner, lane):
    """Its cells never were children; its event says how many there were."""
    parent = await waiting(connection, owner, [lane, lane])
    await cancel(connection, owner, parent)
    assert await told(connection) == [(parent, 1, 0, "canceled")]
    counts = await factories.scalar(connection, "SELECT counts FROM delivery")
    assert counts == [0, 0, 2, 0]


async def test_what_is_ready_is_told_of_in_the_cancel(connection, owner, lane):
    """Children that had not started, and their parent."""
    parent = await waiting(connection, owner, [lane, lane])
    await fan_out(connection)
    await cancel(connection, owner, parent)
    assert await told(connection) == [(parent, 1, n, "canceled") for n in (0, 1, 2)]


@pytest.mark.parametrize("fanned", [False, True])
async def test_a_cell_canceled_by_itself_is_told_of(connection, owner, lane, fanned):
    """In the queue or ready; the last one with its parent."""
    parent = await waiting(connection, owner, [lane, lane])
    if fanned:
        await fan_out(connection)
    await cancel(connection, owner, parent, 2)
    assert await told(connection) == [(parent, 1, 2, "canceled")]
    await cancel(connection, owner, parent, 2)
    await cancel(connection, owner, parent, 1)
    assert await told(connection) == [(parent, 1, n, "canceled") for n in (0, 1, 2)]


@pytest.mark.parametrize("fanned", [False, True])
async def test_a_deadline_is_told(connection, owner, lane, fanned):
    """Of a parent in the queue its own event; of one at work its children's too."""
    parent = await waiting(connection, owner, [lane], deadline=60)
    if fanned:
        await fan_out(connection)
    await overdue(connection, parent)
    await steering.expire(connection)
    ordinals = (0, 1) if fanned else (0,)
    assert await told(connection) == [(parent, 1, n, "expired") for n in ordinals]


async def test_children_given_up_with_their_nodes_are_told(connection, owner, lane):
    """A rescue ends them, and their parent."""
    parent = await waiting(connection, owner, [lane])
    await fan_out(connection)
    dead = await factories.node(connection, age_seconds=60)
    await factories.claim(connection, by=dead)
    await connection.execute("UPDATE child SET lost = %s", [LOST_LIMIT])
    async with connection.transaction():
        await children.rescue(connection)
    assert await told(connection) == [(parent, 1, 0, "failed"), (parent, 1, 1, "failed")]


async def test_a_child_rescued_is_not_told_of(connection, owner, lane):
    """It is queued again: nothing ended."""
    await waiting(connection, owner, [lane])
    await fan_out(connection)
    await factories.claim(connection, by=await factories.node(connection, age_seconds=60))
    async with connection.transaction():
        assert (await children.rescue(connection)).queued == 1
    assert await told(connection) == []


async def test_each_run_is_told(connection, owner, lane):
    """A retry's cells and its parent once more, under their run; those kept are not."""
    parent, (one, other) = await working(connection, owner, [lane, lane])
    await factories.settle(connection, factories.completed(one), factories.failed(other))
    assert isinstance(await retry(connection, owner, parent), Again)
    await fan_out(connection)
    await factories.complete(connection, await factories.claim(connection))
    assert await told(connection) == [
        (parent, 1, 0, "partial"),
        (parent, 1, 1, "completed"),
        (parent, 1, 2, "failed"),
        (parent, 2, 0, "completed"),
        (parent, 2, 2, "completed"),
    ]


async def test_a_retry_canceled_in_the_queue_tells_of_its_parent(connection, owner, lane):
    """The cells that were to run again have told of the run before, and not of this one."""
    parent, (child,) = await working(connection, owner, [lane])
    await factories.settle(connection, factories.failed(child))
    await retry(connection, owner, parent)
    await cancel(connection, owner, parent)
    assert (await told(connection))[2:] == [(parent, 2, 0, "canceled")]


async def test_a_run_that_is_stopped_tells_of_its_own_cells(connection, owner, lane):
    """What completed in the run before was told then."""
    parent, (one, other) = await working(connection, owner, [lane, lane])
    await factories.settle(connection, factories.completed(one), factories.failed(other))
    await retry(connection, owner, parent)
    await fan_out(connection)
    await cancel(connection, owner, parent)
    assert (await told(connection))[3:] == [(parent, 2, 0, "partial"), (parent, 2, 2, "canceled")]


@pytest.mark.parametrize("again", ["as it is", "run again"])
async def test_an_event_says_what_it_said_whatever_runs_again(connection, owner, lane, again):
    """A retry resets the child's row; the event of the run before has kept it."""
    parent, (child,) = await working(connection, owner, [lane], CELLS_ONLY)
    await factories.settle(connection, factories.retried(child))
    await children.stage(connection)
    (child,) = await factories.claim(connection)
    await factories.settle(connection, factories.failed(child))
    before = await children.one(connection, parent, 1)
    if again == "run again":
        await retry(connection, owner, parent)
        await fan_out(connection)
        await factories.complete(connection, await factories.claim(connection))
    (claimed, *_) = await telling.claim(connection, telling.endpoint(owner))
    assert (claimed.run, claimed.ordinal, claimed.state) == (1, 1, "failed")
    assert claimed.child is not None
    assert before is not None
    kept = ("state", "attempt", "started_at", "claimed_at", "finished_at", "error", "log")
    for field in (*kept, "capture", "response_code", "charged", "cancel_requested_at"):
        assert getattr(claimed.child, field) == getattr(before, field), field


async def test_an_erased_parent_tells_nothing_any_more(connection, owner, lane):
    """Its deliveries go with it, sent or not; others stay."""
    first, second = await telling.ended(connection, owner, lane, n=2)
    async with connection.transaction():
        await steering.erase(connection, key_id=owner.id, parent=first)
    assert [parent for parent, *_ in await told(connection)] == [second]


async def test_a_pruned_parent_leaves_no_delivery(connection, owner, lane):
    """What is kept of deliveries is kept as long as their parent."""
    first, second = await telling.ended(connection, owner, lane, n=2)
    old = "UPDATE parent SET finished_at = now() - interval '8 days' WHERE id = %s"
    await connection.execute(old, [first])
    await pruning.prune(connection, retention_seconds=7 * 86_400)
    assert [parent for parent, *_ in await told(connection)] == [second]


async def test_the_events_of_each_run_say_what_that_run_did(connection, owner, lane):
    """Run again and again: the first keeps its first attempt, the second its two."""
    _, (child,) = await working(connection, owner, [lane], CELLS_ONLY)
    await factories.settle(connection, factories.failed(child))
    await retry(connection, owner, child.parent_id)
    await fan_out(connection)
    (again,) = await factories.claim(connection)
    await factories.settle(connection, factories.retried(again))
    await children.stage(connection)
    (again,) = await factories.claim(connection)
    await factories.settle(connection, factories.failed(again))
    await retry(connection, owner, child.parent_id)
    told_of = await telling.claim(connection, telling.endpoint(owner))
    assert {one.run: one.child and one.child.attempt for one in told_of} == {1: 1, 2: 2}
