"""Cancels, deadlines, retries and erasure, as the rows say them afterwards."""

from datetime import UTC, datetime, timedelta

import pytest

from admission import gate
from admission.demand import Demand
from orchestrator.domain import rollup
from orchestrator.domain.states import ParentState
from orchestrator.fanout import fan_out
from orchestrator.store import children, counters, delays, parents, steering, strands
from orchestrator.store.steering import (
    Again,
    Canceled,
    Erased,
    NotCancelable,
    NotEnded,
    NotRetryable,
)
from tests import factories

pytestmark = pytest.mark.anyio


@pytest.fixture
async def owner(connection):
    return await factories.key(connection)


@pytest.fixture
async def lane(connection):
    return await factories.lane(connection)


async def row(connection, owner, parent):
    found = await parents.read(connection, key_id=owner.id, parent=parent)
    assert found
    return found


async def counts(connection, owner, parent):
    found = await row(connection, owner, parent)
    return found.done, found.failed, found.canceled, found.expired


async def cancel(connection, owner, parent, ordinal=None):
    async with connection.transaction():
        return await steering.cancel(connection, key_id=owner.id, parent=parent, ordinal=ordinal)


async def retry(connection, owner, parent, **asked):
    async with connection.transaction():
        found = await steering.retryable(connection, key_id=owner.id, parent=parent, **asked)
        if isinstance(found, Again):
            assert isinstance(
                await gate.enter(connection, Demand(owner.id), strands.resumes), gate.Stored
            )
            await steering.again(connection, found)
    return found


async def overdue(connection, parent):
    statement = "UPDATE parent SET deadline_at = now() - interval '1 second' WHERE id = %s"
    await connection.execute(statement, [parent])


@pytest.fixture(autouse=True)
async def _counted(connection):
    """Every counter equals a recount, whatever a test did."""
    yield
    assert await counters.differences(connection) == []


async def test_a_parent_that_waits_ends_in_the_cancel(connection, owner, lane):
    """All its cells are canceled, its place is free, and nothing of it will ever start."""
    parent = await factories.parent(connection, owner, [lane, lane])
    assert isinstance(await cancel(connection, owner, parent), Canceled)
    found = await row(connection, owner, parent)
    assert found.state is ParentState.CANCELED
    assert (found.done, found.canceled, found.stop) == (2, 2, "canceled")
    assert found.cancel_requested_at == found.finished_at
    assert await fan_out(connection) == 0


async def test_a_cancel_ends_what_is_ready_and_tells_what_runs(connection, owner, lane):
    """The child that runs keeps its slot until its worker settles it; then the parent ends."""
    parent = await factories.parent(connection, owner, [lane, lane, lane])
    await fan_out(connection)
    first, second = await factories.claim(connection, slots=2)
    await factories.settle(connection, factories.retried(second, delay_seconds=60))
    assert isinstance(await cancel(connection, owner, parent), Canceled)
    assert await factories.states(connection, parent) == ["processing", "canceled", "canceled"]
    assert (await row(connection, owner, parent)).state is ParentState.PROCESSING
    assert await factories.claim(connection) == []
    settled = await factories.settle(connection, factories.given_back(first))
    assert list(settled.parents) == [parent]
    assert await factories.states(connection, parent) == ["canceled"] * 3
    assert (await row(connection, owner, parent)).state is ParentState.CANCELED


async def test_a_capture_that_came_home_anyway_is_kept(connection, owner, lane):
    """A cancel interrupts; what was done before it could is not thrown away."""
    parent = await factories.parent(connection, owner, [lane, lane])
    await fan_out(connection)
    (first,) = await factories.claim(connection, slots=1)
    await cancel(connection, owner, parent)
    await factories.complete(connection, [first])
    assert await factories.states(connection, parent) == ["completed", "canceled"]
    assert (await row(connection, owner, parent)).state is ParentState.PARTIAL


@pytest.mark.parametrize("how", [factories.retried, factories.given_back])
async def test_a_child_that_is_to_stop_is_never_tried_again(connection, owner, lane, how):
    """Whatever takes it out of processing without an end ends it as it was told to."""
    parent = await factories.parent(connection, owner, [lane])
    await fan_out(connection)
    (child,) = await factories.claim(connection)
    await cancel(connection, owner, parent)
    await factories.settle(connection, how(child))
    assert await factories.states(connection, parent) == ["canceled"]


async def test_a_child_that_is_to_stop_ends_with_its_dead_node(connection, owner, lane):
    """Rescue reads the same flag."""
    parent = await factories.parent(connection, owner, [lane])
    await fan_out(connection)
    node = await factories.node(connection, age_seconds=60)
    await factories.claim(connection, by=node)
    await cancel(connection, owner, parent)
    async with connection.transaction():
        rescued = await children.rescue(connection)
    assert (rescued.queued, rescued.failed, rescued.stopped) == (0, 0, 1)
    assert list(rescued.parents) == [parent]
    assert (await row(connection, owner, parent)).state is ParentState.CANCELED


async def test_a_repeated_cancel_changes_nothing_and_is_no_error(connection, owner, lane):
    """Neither while something runs nor after the end."""
    parent = await factories.parent(connection, owner, [lane])
    await fan_out(connection)
    (child,) = await factories.claim(connection)
    await cancel(connection, owner, parent)
    before = await row(connection, owner, parent)
    assert isinstance(await cancel(connection, owner, parent), Canceled)
    assert await row(connection, owner, parent) == before
    await factories.settle(connection, factories.given_back(child))
    assert isinstance(await cancel(connection, owner, parent), Canceled)


async def test_what_ended_by_itself_cannot_be_canceled(connection, owner, lane):
    """Neither the parent nor its cell; of another key there is nothing at all."""
    parent = await factories.parent(connection, owner, [lane])
    await fan_out(connection)
    await factories.complete(connection, await factories.claim(connection))
    assert isinstance(await cancel(connection, owner, parent), NotCancelable)
    assert isinstance(await cancel(connection, owner, parent, 1), NotCancelable)
    other = await factories.key(connection)
    assert await cancel(connection, other, parent) is None


async def test_one_cell_of_a_parent_that_waits_is_canceled_alone(connection, owner, lane):
    """It never starts; the others do, and the last of them ends the parent by the roll-up."""
    parent = await factories.parent(connection, owner, [lane, lane, lane])
    assert isinstance(await cancel(connection, owner, parent, 2), Canceled)
    assert isinstance(await cancel(connection, owner, parent, 2), Canceled)
    assert await counts(connection, owner, parent) == (1, 0, 1, 0)
    assert (await row(connection, owner, parent)).cancel_requested_at is None
    assert await fan_out(connection) == 2
    assert await factories.states(connection, parent) == ["queued", "canceled", "queued"]
    await factories.complete(connection, await factories.claim(connection))
    assert (await row(connection, owner, parent)).state is ParentState.PARTIAL


async def test_the_last_cell_canceled_alone_ends_a_parent_that_waits(connection, owner, lane):
    """Its place is free: nothing is left to leave the queue."""
    parent = await factories.parent(connection, owner, [lane, lane])
    await cancel(connection, owner, parent, 1)
    await cancel(connection, owner, parent, 2)
    found = await row(connection, owner, parent)
    assert found.state is ParentState.CANCELED
    assert found.finished_at is not None
    assert await fan_out(connection) == 0


@pytest.mark.parametrize("running", [False, True])
async def test_one_child_is_canceled_alone(connection, owner, lane, running):
    """Its siblings go on."""
    parent = await factories.parent(connection, owner, [lane, lane])
    await fan_out(connection)
    claimed = await factories.claim(connection, slots=1) if running else []
    assert isinstance(await cancel(connection, owner, parent, 1), Canceled)
    for child in claimed:
        await factories.settle(connection, factories.given_back(child))
    assert await factories.states(connection, parent) == ["canceled", "queued"]
    await factories.complete(connection, await factories.claim(connection))
    assert (await row(connection, owner, parent)).state is ParentState.PARTIAL


async def test_a_queue_is_cleared_of_all_that_has_not_started(connection, owner, lane):
    """Waiting, delayed and fanned-out parents go; what has started and other keys' stay."""
    started = await factories.parent(connection, owner, [lane, lane])
    await fan_out(connection)
    await factories.claim(connection, slots=1)
    ready = await factories.parent(connection, owner, [lane])
    await fan_out(connection)
    waiting = await factories.parent(connection, owner, [lane])
    late = await factories.new_waiting(connection, owner, [lane], delay=60)
    other = await factories.key(connection)
    theirs = await factories.parent(connection, other, [lane])
    before = await steering.clock(connection)
    cleared = 0
    for state in steering.CLEARED:
        async with connection.transaction():
            swept = await steering.clear(connection, key_id=owner.id, state=state, before=before)
        cleared += swept.parents
    assert cleared == 3
    for parent in (ready, waiting, late):
        assert (await row(connection, owner, parent)).state is ParentState.CANCELED
    assert (await row(connection, owner, started)).state is ParentState.PROCESSING
    assert (await row(connection, other, theirs)).state is ParentState.QUEUED


@pytest.mark.parametrize("state", ["queued", "delayed", "processing"])
async def test_a_queue_is_cleared_a_batch_at_a_time(connection, owner, lane, state):
    """However long it is, one transaction ends so many of its parents."""
    for _ in range(5):
        await factories.new_waiting(connection, owner, [lane], delay=60 * (state == "delayed"))
    if state == "processing":
        await fan_out(connection)
    before, told = await steering.clock(connection), []
    for _ in range(3):
        async with connection.transaction():
            told.append(
                await steering.clear(
                    connection, key_id=owner.id, state=state, before=before, most=2
                )
            )
    assert told == [(2, True), (2, True), (1, False)]


@pytest.mark.parametrize("goes_on", [delays.release, fan_out])
async def test_what_goes_on_while_a_queue_is_cleared_does_not_slip_through(
    connection, owner, lane, goes_on
):
    """A delay that ends, or a fan-out, between two batches leads to what is cleared later."""
    late = await factories.new_waiting(connection, owner, [lane], delay=60)
    soon = await factories.parent(connection, owner, [lane])
    before = await steering.clock(connection)
    await connection.execute("UPDATE parent SET not_before = now() WHERE state = 'delayed'")
    for state in steering.CLEARED:
        async with connection.transaction():
            await steering.clear(connection, key_id=owner.id, state=state, before=before)
        await goes_on(connection)
    for parent in (late, soon):
        assert (await row(connection, owner, parent)).state is ParentState.CANCELED


async def test_a_queue_is_cleared_of_what_came_before_only(connection, owner, lane):
    """A parent accepted after the call stays."""
    await factories.parent(connection, owner, [lane])
    long_ago = datetime.now(UTC) - timedelta(days=1)
    async with connection.transaction():
        told = await steering.clear(connection, key_id=owner.id, state="queued", before=long_ago)
    assert told.parents == 0


async def test_a_deadline_ends_what_waits(connection, owner, lane):
    """Each of its cells is expired, and says why."""
    parent = await factories.new_waiting(connection, owner, [lane, lane], deadline=60)
    assert (await steering.expire(connection)).parents == 0
    await overdue(connection, parent)
    assert (await steering.expire(connection)).parents == 1
    found = await row(connection, owner, parent)
    assert found.state is ParentState.EXPIRED
    assert await counts(connection, owner, parent) == (2, 0, 0, 2)
    assert (await steering.expire(connection)).parents == 0


async def test_a_deadline_ends_what_is_ready_and_interrupts_what_runs(connection, owner, lane):
    """The unstarted and the interrupted end expired with DEADLINE_EXCEEDED; the finished stay."""
    parent = await factories.new_waiting(connection, owner, [lane, lane, lane], deadline=60)
    await fan_out(connection)
    first, second = await factories.claim(connection, slots=2)
    await factories.complete(connection, [first])
    await overdue(connection, parent)
    assert (await steering.expire(connection)).parents == 1
    assert (await steering.expire(connection)).parents == 0
    assert await factories.states(connection, parent) == ["completed", "processing", "expired"]
    await factories.settle(connection, factories.given_back(second))
    assert await factories.states(connection, parent) == ["completed", "expired", "expired"]
    errors = [child.error and child.error.code for child in await children.of(connection, parent)]
    assert errors == [None, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"]
    assert (await row(connection, owner, parent)).state is ParentState.PARTIAL


async def test_deadlines_of_several_keys_are_met_one_key_at_a_time(connection, lane):
    """Whatever waits and whatever works, in the end nothing overdue is left."""
    overdue_ones = []
    for _ in range(3):
        key = await factories.key(connection)
        for _ in range(2):
            parent = await factories.new_waiting(connection, key, [lane], deadline=60)
            overdue_ones.append((key, parent))
        await fan_out(connection, parents=1)
    for _, parent in overdue_ones:
        await overdue(connection, parent)
    while (await steering.expire(connection)).parents:
        pass
    for key, parent in overdue_ones:
        assert (await row(connection, key, parent)).state is ParentState.EXPIRED


async def test_a_delayed_parent_holds_its_place_and_leaves_when_due(connection, owner, lane):
    """It is in nobody's way until then."""
    parent = await factories.new_waiting(connection, owner, [lane], delay=60)
    assert await fan_out(connection) == 0
    assert (await delays.release(connection)).parents == 0
    statement = "UPDATE parent SET not_before = now() - interval '1 second'"
    await connection.execute(statement)
    assert (await delays.release(connection)).parents == 1
    assert (await row(connection, owner, parent)).state is ParentState.QUEUED
    assert await fan_out(connection) == 1


async def test_enough_completed_cells_cancel_the_rest(connection, owner, lane):
    """Ready ones end in the same settle, running ones are told; the parent is completed."""
    parent = await factories.new_waiting(connection, owner, [lane] * 4, finish=2)
    await fan_out(connection)
    first, second, third = await factories.claim(connection, slots=3)
    await factories.complete(connection, [first])
    assert await factories.states(connection, parent) == [
        *("completed", "processing", "processing", "queued"),
    ]
    await factories.complete(connection, [second])
    assert await factories.states(connection, parent) == [
        *("completed", "completed", "processing", "canceled"),
    ]
    settled = await factories.settle(connection, factories.retried(third))
    assert list(settled.parents) == [parent]
    found = await row(connection, owner, parent)
    assert found.state is ParentState.COMPLETED
    assert found.cancel_requested_at is None
    assert await counts(connection, owner, parent) == (4, 0, 2, 0)


async def test_what_fails_beside_the_last_one_wanted_is_not_tried_again(connection, owner, lane):
    """In one settle: the completion that is enough, and a retry of a sibling."""
    parent = await factories.new_waiting(connection, owner, [lane] * 3, finish=1)
    await fan_out(connection)
    first, second = await factories.claim(connection, slots=2)
    await factories.settle(connection, factories.retried(first), factories.completed(second))
    assert await factories.states(connection, parent) == ["canceled", "completed", "canceled"]
    assert (await row(connection, owner, parent)).state is ParentState.COMPLETED


async def test_a_stale_completion_does_not_count_for_an_early_end(connection, owner, lane):
    """Only what is recorded is enough."""
    parent = await factories.new_waiting(connection, owner, [lane] * 2, finish=1)
    await fan_out(connection)
    (first,) = await factories.claim(connection, slots=1)
    stale = first._replace(claim=first.claim + 1)
    settled = await factories.settle(connection, factories.completed(stale))
    assert settled.children == 0
    assert await factories.states(connection, parent) == ["processing", "queued"]


async def test_a_retry_runs_what_found_no_answer_again(connection, owner, lane):
    """The next run has fresh attempts for those cells, keeps the others, and takes a place."""
    parent = await factories.new_waiting(connection, owner, [lane] * 3, deadline=60)
    await fan_out(connection)
    first, second, third = await factories.claim(connection)
    await factories.settle(
        connection,
        factories.completed(first),
        factories.failed(second),
        factories.failed(third),
    )
    before = await row(connection, owner, parent)
    assert before.state is ParentState.PARTIAL
    found = await retry(connection, owner, parent)
    assert isinstance(found, Again)
    assert list(found.todo) == [2, 3]
    now = await row(connection, owner, parent)
    assert (now.state, now.run, now.finished_at) == (ParentState.QUEUED, 2, None)
    assert await counts(connection, owner, parent) == (1, 0, 0, 0)
    assert now.deadline_at > before.deadline_at
    assert await fan_out(connection) == 2
    assert await factories.states(connection, parent) == ["completed", "queued", "queued"]
    claimed = await factories.claim(connection)
    assert [child.attempt for child in claimed] == [1, 1]
    await factories.complete(connection, claimed)
    assert (await row(connection, owner, parent)).state is ParentState.COMPLETED


async def test_a_retry_of_what_was_canceled_in_the_queue_runs_all_of_it(connection, owner, lane):
    """Cells that never had a row are run like any."""
    parent = await factories.parent(connection, owner, [lane, lane])
    await cancel(connection, owner, parent)
    assert isinstance(await retry(connection, owner, parent), Again)
    assert await fan_out(connection) == 2


async def test_a_retry_of_one_cell_leaves_the_others_as_they_ended(connection, owner, lane):
    """Also those that ended in the queue, without a row; they can be retried later."""
    parent = await factories.parent(connection, owner, [lane] * 3)
    await cancel(connection, owner, parent)
    await retry(connection, owner, parent, ordinal=1)
    await fan_out(connection)
    await factories.complete(connection, await factories.claim(connection))
    assert await factories.states(connection, parent) == ["completed", "canceled", "canceled"]
    assert (await row(connection, owner, parent)).state is ParentState.PARTIAL
    found = await retry(connection, owner, parent)
    assert isinstance(found, Again)
    assert list(found.todo) == [2, 3]


async def test_a_retry_that_waits_can_be_canceled(connection, owner, lane):
    """Its cells end canceled, and tell nothing of the run before."""
    parent = await factories.parent(connection, owner, [lane, lane])
    await fan_out(connection)
    first, second = await factories.claim(connection)
    await factories.settle(connection, factories.completed(first), factories.failed(second))
    await retry(connection, owner, parent)
    await cancel(connection, owner, parent)
    assert await factories.states(connection, parent) == ["completed", "canceled"]
    assert await counts(connection, owner, parent) == (2, 0, 1, 0)
    assert (await row(connection, owner, parent)).state is ParentState.PARTIAL
    assert (await children.of(connection, parent))[1].error is None


async def test_a_retry_asks_for_some_ends_or_for_one_cell(connection, owner, lane):
    """Statuses and an ordinal choose; what matches nothing is no retry."""
    parent = await factories.parent(connection, owner, [lane] * 3)
    await fan_out(connection)
    first, second, third = await factories.claim(connection)
    await factories.settle(connection, factories.failed(first), factories.completed(second))
    assert await retry(connection, owner, parent) == NotRetryable(ended=False)
    await cancel(connection, owner, parent, 3)
    await factories.settle(connection, factories.given_back(third))
    nothing = await retry(connection, owner, parent, statuses=["expired"])
    assert nothing == NotRetryable(ended=True)
    assert await retry(connection, owner, parent, ordinal=2) == NotRetryable(ended=True)
    found = await retry(connection, owner, parent, statuses=["canceled"])
    assert isinstance(found, Again)
    assert list(found.todo) == [3]


async def test_what_is_completed_is_never_run_again(connection, owner, lane):
    """Also when it ended early: what it was for is there."""
    parent = await factories.new_waiting(connection, owner, [lane] * 2, finish=1)
    await fan_out(connection)
    first, _ = await factories.claim(connection)
    await factories.complete(connection, [first])
    await cancel(connection, owner, parent)
    assert await retry(connection, owner, parent) == NotRetryable(ended=False)


async def test_an_ended_parent_is_erased_whole(connection, owner, lane):
    """Rows of it are gone, and its idempotency key is free; one that has not ended stays."""
    parent = await factories.parent(connection, owner, [lane])
    async with connection.transaction():
        assert isinstance(
            await steering.erase(connection, key_id=owner.id, parent=parent), NotEnded
        )
    await fan_out(connection)
    await factories.complete(connection, await factories.claim(connection))
    other = await factories.key(connection)
    async with connection.transaction():
        assert await steering.erase(connection, key_id=other.id, parent=parent) is None
        assert isinstance(await steering.erase(connection, key_id=owner.id, parent=parent), Erased)
    assert await parents.read(connection, key_id=owner.id, parent=parent) is None
    assert await children.of(connection, parent) == []


ENDS = ("completed", "failed", "canceled", "expired")


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("finish", [None, 1, 2, 5])
async def test_the_databases_roll_up_is_the_domains(connection, asked, finish):
    """Over every mix of up to five cells."""
    mixes = [
        (c, f, x, e)
        for c in range(6)
        for f in range(6 - c)
        for x in range(6 - c - f)
        for e in range(6 - c - f - x)
        if c + f + x + e
    ]
    for completed, failed, canceled, expired in mixes:
        total = completed + failed + canceled + expired
        said = await factories.scalar(
            connection,
            "SELECT rolled_up('processing', %s, %s, %s, %s, %s, %s, %s)",
            *(total, total, failed, canceled, expired, finish, asked),
        )
        ends = dict(zip(ENDS, (completed, failed, canceled, expired), strict=True))
        assert said == rollup.end(**ends, finish=finish, cancel_asked=asked)
