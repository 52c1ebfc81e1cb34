from collections import Counter
from itertools import product

import pytest

from orchestrator import notify
from orchestrator.domain import rollup
from orchestrator.domain.states import ParentState
from orchestrator.fanout import fan_out
from orchestrator.store import children, parents
from orchestrator.store.children import Settled
from tests import factories

pytestmark = pytest.mark.anyio


async def claimed_parent(connection, cells: int):
    """A parent with all its cells claimed, and the claims in ordinal order."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    parent = await factories.parent(connection, owner, [lane] * cells)
    await fan_out(connection)
    claimed = sorted(await factories.claim(connection), key=lambda child: child.ordinal)

    async def read():
        row = await parents.read(connection, key_id=owner.id, parent=parent)
        assert row is not None
        return row

    return parent, claimed, read


async def test_a_completed_child_keeps_its_capture(connection, recounted):
    """State, capture, response code and end are stored; the claim is gone."""
    parent, (child,), read = await claimed_parent(connection, 1)
    assert await factories.complete(connection, [child]) == Settled(1, [parent])
    row = await children.one(connection, parent, 1)
    assert row is not None
    assert (str(row.state), row.attempt, row.response_code) == ("completed", 1, 200)
    assert bytes(row.capture or b"") == factories.CAPTURE.encode()
    assert row.error is None
    assert row.finished_at is not None
    ended = await read()
    assert (str(ended.state), ended.done, ended.failed) == ("completed", 1, 0)
    assert ended.finished_at == row.finished_at
    await recounted()


async def test_a_failed_child_keeps_its_failure(connection):
    """The error and the upstream's code are stored, and the parent counts it."""
    parent, (child,), read = await claimed_parent(connection, 1)
    assert await factories.settle(connection, factories.failed(child)) == Settled(1, [parent])
    row = await children.one(connection, parent, 1)
    assert row is not None
    assert (str(row.state), row.error, row.response_code) == ("failed", factories.FAILURE, 500)
    assert row.capture is None
    ended = await read()
    assert (str(ended.state), ended.done, ended.failed) == ("failed", 1, 1)


async def test_a_retried_child_waits_and_its_attempt_is_logged(connection, recounted):
    """It is due after the delay on the database's clock; the log says what happened and when."""
    parent, (child,), read = await claimed_parent(connection, 1)
    assert await factories.settle(connection, factories.retried(child, 60)) == Settled(1, [])
    row = await children.one(connection, parent, 1)
    assert row is not None
    assert (str(row.state), row.attempt, row.error) == ("retrying", 1, None)
    due = "SELECT extract(epoch FROM run_at - now()) BETWEEN 1 AND 60 FROM child"
    assert await factories.scalar(connection, due)
    (entry,) = row.log
    assert (entry.number, entry.status, entry.code) == (1, "failed", "UPSTREAM_STATUS")
    assert entry.response_code == 500
    assert entry.ended_at is not None
    assert entry.started_at == row.claimed_at
    assert (await read()).done == 0
    await recounted()


async def test_delays_of_whole_seconds_and_others_are_settled_together(connection):
    """An adapter may say 30 or 1.5: an array holds numbers of one kind."""
    _, claimed, _ = await claimed_parent(connection, 2)
    delays = (30, 1.5)
    outcomes = [factories.retried(*one) for one in zip(claimed, delays, strict=True)]
    assert await factories.settle(connection, *outcomes) == Settled(2, [])


async def test_the_log_grows_with_each_retry_and_survives_the_end(connection):
    """Two retries and a success leave two entries, in order, and the third attempt's capture."""
    parent, (child,), _ = await claimed_parent(connection, 1)
    for _ in range(2):
        await factories.settle(connection, factories.retried(child))
        assert (await children.stage(connection)).children == 1
        (child,) = await factories.claim(connection)
    await factories.complete(connection, [child])
    row = await children.one(connection, parent, 1)
    assert row is not None
    assert [entry.number for entry in row.log] == [1, 2]
    assert (str(row.state), row.attempt) == ("completed", 3)


async def test_a_child_given_back_was_never_tried(connection, recounted):
    """It is ready again at once, the attempt not counted, nothing logged."""
    parent, (child,), read = await claimed_parent(connection, 1)
    assert await factories.settle(connection, factories.given_back(child)) == Settled(1, [])
    row = await children.one(connection, parent, 1)
    assert row is not None
    assert (str(row.state), row.attempt, row.log) == ("queued", 0, ())
    (again,) = await factories.claim(connection)
    assert again.attempt == 1
    assert (await read()).done == 0
    await recounted()


async def test_other_workers_hear_of_what_was_given_back(connection, connect):
    """A leaving node's children are claimed at once by whoever listens, not at the next poll."""
    listener = await connect()
    await listener.execute(f"LISTEN {notify.QUEUED}")
    _, (child,), _ = await claimed_parent(connection, 1)
    await anext(listener.notifies(timeout=10))  # of the fan-out
    await factories.settle(connection, factories.given_back(child))
    heard = await anext(listener.notifies(timeout=10))
    assert heard.channel == notify.QUEUED


@pytest.mark.parametrize("outcome", ["completed", "failed", "retried", "given_back"])
async def test_the_fence_holds_for_every_outcome(connection, outcome):
    """A token that is not the child's present one changes nothing, whatever the outcome."""
    parent, (child,), read = await claimed_parent(connection, 1)
    stale = child._replace(claim=child.claim ^ 1)
    make = getattr(factories, outcome)
    assert await factories.settle(connection, make(stale)) == Settled(0, [])
    assert await factories.states(connection, parent) == ["processing"]
    assert (await read()).done == 0
    assert (await factories.settle(connection, make(child))).children == 1
    assert (await factories.settle(connection, make(child))).children == 0


async def test_an_outcome_for_a_child_that_is_nowhere_changes_nothing(connection):
    """Unknown parents and ordinals in a batch do not disturb the others."""
    parent, (child, other), _ = await claimed_parent(connection, 2)
    _, (foreign,), _ = await claimed_parent(connection, 1)
    settled = await factories.settle(
        connection,
        factories.completed(child),
        factories.completed(child._replace(ordinal=99)),
        factories.completed(child._replace(parent_id=foreign.parent_id, ordinal=7)),
        factories.completed(other),
    )
    assert settled == Settled(2, [parent])


async def test_a_child_named_twice_in_a_batch_counts_once_by_its_first_outcome(connection):
    """Duplicates neither double the roll-up nor decide by chance."""
    parent, (child, other), read = await claimed_parent(connection, 2)
    settled = await factories.settle(
        connection,
        factories.failed(child),
        factories.completed(child),
        factories.completed(other),
        factories.completed(other),
    )
    assert settled == Settled(2, [parent])
    row = await read()
    assert (str(row.state), row.done, row.failed) == ("partial", 2, 1)
    assert await factories.states(connection, parent) == ["failed", "completed"]


async def test_a_batch_said_twice_changes_nothing_the_second_time(connection):
    """An outcome repeated after an unclear answer is dropped by the fence."""
    parent, claimed, read = await claimed_parent(connection, 3)
    assert await factories.complete(connection, claimed) == Settled(3, [parent])
    before = await read()
    assert await factories.complete(connection, claimed) == Settled(0, [])
    assert await read() == before


async def test_siblings_in_two_batches_end_their_parent_in_the_second(connection):
    """The parent ends with its last child and tells so once."""
    parent, claimed, read = await claimed_parent(connection, 3)
    assert await factories.complete(connection, claimed[:2]) == Settled(2, [])
    assert (str((await read()).state), (await read()).done) == ("processing", 2)
    assert await factories.complete(connection, claimed[2:]) == Settled(1, [parent])
    assert str((await read()).state) == "completed"


async def test_one_batch_settles_children_of_many_parents(connection, recounted):
    """Each parent is rolled up by its own children."""
    owner = await factories.key(connection, concurrency=500)
    lane = await factories.lane(connection, concurrency=500)
    made = await factories.some_parents(connection, owner, [lane] * 3, n=50)
    await fan_out(connection)
    claimed = await factories.claim(connection, slots=200)
    assert len(claimed) == 150
    settled = await factories.complete(connection, claimed)
    assert settled.children == 150
    assert sorted(settled.parents) == sorted(made)
    await recounted()


async def test_the_sql_and_the_pure_roll_up_agree(connection):
    """Every mix of up to five cells ends as the domain says, really settled."""
    owner = await factories.key(connection, concurrency=10_000)
    lane = await factories.lane(connection, concurrency=10_000)
    mixes = [mix for mix in product(range(6), repeat=4) if sum(mix) <= 5 and mix[0] + mix[1] >= 1]
    made = {}
    for mix in mixes:
        made[await factories.parent(connection, owner, [lane] * sum(mix))] = mix
    while await fan_out(connection, parents=200):
        pass
    outcomes = []
    claimed = await factories.claim(connection, slots=2000)
    ends_of: Counter[object] = Counter()
    for child in claimed:
        completed, failed, canceled, expired = made[child.parent_id]
        place = ends_of[child.parent_id]
        ends_of[child.parent_id] += 1
        if place < completed:
            outcomes.append(factories.completed(child))
        elif place < completed + failed:
            outcomes.append(factories.failed(child))
        elif place == completed + failed:
            await connection.execute(
                "UPDATE parent SET done = %s, canceled = %s, expired = %s WHERE id = %s",
                [canceled + expired, canceled, expired, child.parent_id],
            )
    settled = await factories.settle(connection, *outcomes)
    assert len(settled.parents) == len(mixes)
    for parent, (completed, failed, canceled, expired) in made.items():
        row = await parents.read(connection, key_id=owner.id, parent=parent)
        assert row is not None
        assert row.done == row.total
        assert row.state is rollup.end(
            completed=completed, failed=failed, canceled=canceled, expired=expired
        )
        assert row.state in set(ParentState)


async def test_results_are_read_page_by_page(connection):
    """Children come in ordinal order with their captures, after an ordinal and up to a limit."""
    parent, claimed, _ = await claimed_parent(connection, 5)
    await factories.complete(connection, claimed[:4])
    page = await children.results(connection, parent, after=0, limit=2)
    assert [row.ordinal for row in page] == [1, 2]
    assert all(row.capture for row in page)
    rest = await children.results(connection, parent, after=2, limit=100)
    assert [(row.ordinal, row.capture is None) for row in rest] == [
        (3, False),
        (4, False),
        (5, True),
    ]
    listed = await children.of(connection, parent)
    assert [row.ordinal for row in listed] == [1, 2, 3, 4, 5]
    assert all(row.capture is None for row in listed)
    assert await children.one(connection, parent, 6) is None


async def test_settling_nothing_changes_nothing(connection):
    """An empty batch is no error."""
    assert await factories.settle(connection) == Settled(0, ())
