"""Two sessions that meet at settle and rescue."""

import asyncio

import pytest

from orchestrator.fanout import fan_out
from orchestrator.store import children, parents
from orchestrator.store.children import Rescued, Settled
from tests import factories

pytestmark = pytest.mark.anyio

DEAD_NODE = 4711


async def claimed_cells(connection, cells: int, **limits):
    """A parent whose cells are claimed by a node that is dead; claims in ordinal order."""
    owner = await factories.key(connection, **limits)
    lane = await factories.lane(connection)
    parent = await factories.parent(connection, owner, [lane] * cells)
    await fan_out(connection)
    claimed = await factories.claim(connection, by=DEAD_NODE)

    async def read():
        row = await parents.read(connection, key_id=owner.id, parent=parent)
        assert row is not None
        return str(row.state), row.done, row.failed

    return parent, sorted(claimed, key=lambda child: child.ordinal), read


async def rescue(session) -> Rescued:
    async with session.transaction():
        return await children.rescue(session)


async def test_a_worker_that_lost_its_child_cannot_settle_the_newer_attempt(connection, recounted):
    """Rescued and claimed again, the child is settled by its new token only."""
    parent, (old,), read = await claimed_cells(connection, 1)
    assert await rescue(connection) == Rescued(1, 0, [])
    (new,) = await factories.claim(connection)
    assert await factories.settle(connection, factories.failed(old)) == Settled(0, [])
    assert await factories.states(connection, parent) == ["processing"]
    assert await factories.complete(connection, [new]) == Settled(1, [parent])
    assert await factories.settle(connection, factories.failed(old)) == Settled(0, [])
    assert await read() == ("completed", 1, 0)
    await recounted()


async def test_a_stale_settle_that_waits_for_the_rescue_changes_nothing(
    connection, connect, meeting, recounted
):
    """It sees the old claim when it begins and the new one when it gets its turn."""
    parent, (old,), read = await claimed_cells(connection, 1)
    rescuer, worker = await connect(), await connect()
    async with rescuer.transaction():
        assert await children.rescue(rescuer) == Rescued(1, 0, [])
        (new,) = await factories.claim(rescuer)
        settled = await meeting.begin(worker, factories.settle(worker, factories.failed(old)))
        assert not settled.done()
    assert await settled == Settled(0, [])
    assert await factories.states(connection, parent) == ["processing"]
    assert await factories.complete(connection, [new]) == Settled(1, [parent])
    assert await read() == ("completed", 1, 0)
    await recounted()


async def test_a_rescue_that_waits_for_the_settle_takes_nothing_back(
    connection, connect, meeting, recounted
):
    """What its worker settled in time stays settled."""
    parent, claimed, read = await claimed_cells(connection, 2)
    worker, rescuer = await connect(), await connect()
    async with worker.transaction():
        assert await factories.complete(worker, claimed) == Settled(2, [parent])
        rescued = await meeting.begin(rescuer, rescue(rescuer))
    assert await rescued == Rescued(0, 0, [])
    assert await read() == ("completed", 2, 0)
    await recounted()


async def test_two_rescuers_take_a_child_back_once(connection, connect, meeting, recounted):
    """The loss is counted once, or three rescuers could fail a child that was lost once."""
    parent, _, _ = await claimed_cells(connection, 2)
    one, other = await connect(), await connect()
    async with one.transaction():
        assert await children.rescue(one) == Rescued(2, 0, [])
        second = await meeting.begin(other, rescue(other))
    assert await second == Rescued(0, 0, [])
    lost = "SELECT array_agg(lost) FROM child"
    assert await factories.scalar(connection, lost) == [1, 1]
    assert await factories.states(connection, parent) == ["queued", "queued"]
    await recounted()


async def test_siblings_settled_at_once_end_their_parent_exactly_once(
    connection, connect, meeting, recounted
):
    """The second adds to what the first has written; it alone ends the parent."""
    parent, (first, second), read = await claimed_cells(connection, 2)
    one, other = await connect(), await connect()
    async with one.transaction():
        assert await factories.complete(one, [first]) == Settled(1, [])
        waiting = await meeting.begin(other, factories.settle(other, factories.failed(second)))
    assert await waiting == Settled(1, [parent])
    assert await read() == ("partial", 2, 1)
    await recounted()


async def test_a_batch_sent_twice_at_once_counts_once(connection, connect, meeting, recounted):
    """A worker that repeats an unclear flush while the first still runs doubles nothing."""
    parent, claimed, read = await claimed_cells(connection, 3)
    one, other = await connect(), await connect()
    async with one.transaction():
        assert await factories.complete(one, claimed) == Settled(3, [parent])
        again = await meeting.begin(other, factories.complete(other, claimed))
    assert await again == Settled(0, [])
    assert await read() == ("completed", 3, 0)
    await recounted()


async def test_batches_that_name_parents_in_opposite_orders_do_not_deadlock(
    connection, connect, meeting, recounted
):
    """Both lock the parents by id; each settles its half."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    made = await factories.some_parents(connection, owner, [lane] * 2, n=2)
    await fan_out(connection)
    child = {(c.parent_id, c.ordinal): c for c in await factories.claim(connection)}
    low, high = made
    holder, one, other = await connect(), await connect(), await connect()
    async with holder.transaction():
        await holder.execute("SELECT FROM parent WHERE id = %s FOR NO KEY UPDATE", [high])
        first = await meeting.begin(one, factories.complete(one, [child[low, 1], child[high, 1]]))
        second = await meeting.begin(
            other, factories.complete(other, [child[high, 2], child[low, 2]])
        )
    assert {(await first).children, (await second).children} == {2}
    assert sorted([*first.result().parents, *second.result().parents]) == sorted(made)
    await recounted()


async def rounds(connection, connect, recounted, n: int) -> None:
    """Claims and two settles at once, over the same parents, keys and lanes; nothing ever ends."""
    owners = [await factories.key(connection) for _ in range(3)]
    lanes = [await factories.lane(connection, country) for country in ("US", "GB", "DE")]
    for owner in owners:
        await factories.some_parents(connection, owner, lanes * 2, n=3)
    await fan_out(connection)
    runner, one, other, stager = [await connect() for _ in range(4)]
    await connection.execute("UPDATE lane SET failures = -1000000")  # no breaker opens
    node = await factories.node(connection)
    held = await factories.claim(connection, by=node, slots=30)
    for turn in range(n):
        kind = factories.retried if turn % 5 == 0 else factories.given_back
        outcomes = [kind(child) for child in sorted(held)]
        claimed, first, second, _ = await asyncio.gather(
            factories.claim(runner, by=node, slots=15),
            factories.settle(one, *outcomes[::2]),
            factories.settle(other, *reversed(outcomes[1::2])),
            children.stage(stager),
        )
        assert first.children + second.children == len(outcomes)
        held = claimed
    await recounted()
    assert await factories.scalar(connection, "SELECT sum(done)::int FROM parent") == 0


async def test_settle_against_claim_does_not_deadlock(connection, connect, recounted):
    """300 rounds of a claim, two settles and a stage at once, by four sessions."""
    await rounds(connection, connect, recounted, 300)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_settle_against_claim_does_not_deadlock_in_ten_thousand_rounds(
    connection, connect, recounted
):
    """The long form: 10,000 rounds."""
    await rounds(connection, connect, recounted, 10_000)


async def test_rescue_against_settle_and_claim_does_not_deadlock(connection, connect, recounted):
    """Workers settle what a rescuer takes back at the same moment: each child has one outcome."""
    owners = [await factories.key(connection) for _ in range(2)]
    lanes = [await factories.lane(connection, country) for country in ("US", "GB")]
    for owner in owners:
        await factories.some_parents(connection, owner, lanes * 2, n=8)
    await fan_out(connection)
    rescuer, one, other = [await connect() for _ in range(3)]
    await connection.execute("UPDATE child SET lost = -1000")
    for _ in range(60):
        claimed = await factories.claim(connection, by=DEAD_NODE, slots=20)
        await asyncio.gather(
            rescue(rescuer),
            factories.complete(one, claimed[:4]),
            factories.complete(other, reversed(claimed[4:8])),
            fan_out(connection),
        )
        await rescue(rescuer)
    claimed = await factories.claim(connection)
    await factories.complete(connection, claimed)
    done = "SELECT bool_and(done = (SELECT count(*) FROM child c WHERE c.parent_id = p.id AND"
    rolled = f"{done} c.state = 'completed')) FROM parent p"
    assert await factories.scalar(connection, rolled)
    await recounted()
