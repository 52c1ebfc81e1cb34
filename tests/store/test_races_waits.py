"""Two sessions that meet where callers come and go."""

import asyncio

import pytest

from admission import usage
from orchestrator import notify
from orchestrator.fanout import fan_out
from orchestrator.store import children, parents, waits
from orchestrator.store.children import Settled
from orchestrator.store.parents import Caller
from tests import factories

pytestmark = pytest.mark.anyio

TAKEN = """
SELECT (SELECT count(*) FROM sync_wait w WHERE w.key_id = u.key_id)::int, u.detached FROM usage u
"""


async def taken(connection) -> tuple[int, int]:
    """Callers who wait, and parents whose callers have left."""
    return (await (await connection.execute(TAKEN)).fetchall())[0]


async def waited_for(connection, cells: int = 1, **limits):
    """A key and its parent, its children claimed, that one caller waits for."""
    owner = await factories.key(connection, **limits)
    lane = await factories.lane(connection)
    parent = await factories.sync_parent(connection, owner, [lane] * cells)
    return owner, parent, await factories.claim(connection)


async def test_two_last_callers_leaving_at_once_detach_their_parent_once(
    connection, connect, meeting, recounted
):
    """The second waits for the first and then knows that nobody remains."""
    owner, parent, _ = await waited_for(connection)
    second = await factories.join(connection, owner, parent)
    (first,) = set(await factories.waiting_for(connection, parent)) - {second}
    one, other = await connect(), await connect()
    async with one.transaction():
        await waits.leave(one, [first])
        left = await meeting.begin(other, waits.leave(other, [second]))
        assert not left.done()
    await left
    assert await factories.mode(connection, parent) == "detached"
    assert await taken(connection) == (0, 1)
    await recounted()


async def test_a_caller_who_is_told_to_leave_twice_at_once_leaves_once(
    connection, connect, meeting, recounted
):
    """By its process and by a rescuer who took that for dead."""
    _, parent, _ = await waited_for(connection)
    wait = await factories.waiting_for(connection, parent)
    one, other = await connect(), await connect()
    async with one.transaction():
        await waits.leave(one, wait)
        left = await meeting.begin(other, waits.leave(other, wait))
        assert not left.done()
    await left
    assert await taken(connection) == (0, 1)
    await recounted()


async def test_a_caller_leaving_while_the_last_child_is_settled_detaches_nothing(
    connection, connect, meeting, recounted
):
    """It waits for the settle, and what has ended is not detached."""
    _, parent, claimed = await waited_for(connection)
    worker, api = await connect(), await connect()
    async with worker.transaction():
        assert await factories.complete(worker, claimed) == Settled(1, [parent])
        wait = await factories.waiting_for(connection, parent)
        left = await meeting.begin(api, waits.leave(api, wait))
        assert not left.done()
    await left
    assert await factories.mode(connection, parent) == "sync"
    assert await taken(connection) == (0, 0)
    await recounted()


async def test_the_last_child_settled_while_the_caller_leaves_frees_the_place(
    connection, connect, meeting, recounted
):
    """The settle waits, and counts the parent that was detached meanwhile out again."""
    _, parent, claimed = await waited_for(connection)
    worker, api = await connect(), await connect()
    async with api.transaction():
        await waits.leave(api, await factories.waiting_for(connection, parent))
        settled = await meeting.begin(worker, factories.complete(worker, claimed))
        assert not settled.done()
    assert await settled == Settled(1, [parent])
    assert await factories.mode(connection, parent) == "detached"
    assert await taken(connection) == (0, 0)
    await recounted()


async def test_a_caller_joining_while_the_last_leaves_is_counted(
    connection, connect, meeting, recounted
):
    """Both may count for a while, never neither."""
    owner, parent, _ = await waited_for(connection)
    joining, leaving = await connect(), await connect()
    async with joining.transaction():
        await usage.lock(joining, [owner.id])
        asked = factories.new_parent(owner, ())._replace(caller=Caller(4711, 1))
        await parents.attend(joining, [(asked, parent)])
        wait = await factories.waiting_for(connection, parent)
        left = await meeting.begin(leaving, waits.leave(leaving, wait))
        assert not left.done()
        assert await taken(connection) == (1, 0)
    await left
    assert await taken(connection) == (1, 1)
    await waits.leave(connection, [4711])
    assert await taken(connection) == (0, 1)
    await recounted()


async def test_a_caller_who_joins_while_the_parent_ends_is_told(
    connection, connect, meeting, recounted
):
    """A settle that began before it came looks for callers once more, under the usage lock."""
    owner = await factories.key(connection)
    parent = await factories.parent(connection, owner, [await factories.lane(connection)])
    await fan_out(connection)
    claimed = await factories.claim(connection)
    joining, worker, listener = await connect(), await connect(), await connect()
    await listener.execute(f"LISTEN {notify.ENDED}")
    async with joining.transaction():
        await usage.lock(joining, [owner.id])
        settled = await meeting.begin(worker, factories.complete(worker, claimed))
        assert not settled.done()
        asked = factories.new_parent(owner, ())._replace(caller=Caller(4711, 1))
        await parents.attend(joining, [(asked, parent)])
    assert await settled == Settled(1, [parent])
    heard = await anext(listener.notifies(timeout=10))
    assert heard.payload == parent.hex
    await recounted()


async def rounds(connection, connect, recounted, n: int) -> None:
    """Callers come and go while their parents' children are claimed, settled, staged, rescued."""
    owners = [await factories.key(connection, concurrency=9, sync_limit=9) for _ in range(3)]
    lanes = [await factories.lane(connection, country) for country in ("US", "GB", "DE")]
    runner, one, other, stager, api, third = [await connect() for _ in range(6)]
    node = await factories.node(connection)
    held = []
    for turn in range(n):
        for place, owner in enumerate(owners):
            cells = [*lanes[place:], *lanes[:place]]
            made = await factories.sync_parent(connection, owner, cells, node=node)
            await factories.join(connection, owner, made, node=node)
            await factories.parent(connection, owner, cells)
        cursor = await connection.execute("SELECT id FROM sync_wait ORDER BY random() LIMIT 7")
        going = [wait for (wait,) in await cursor.fetchall()]
        kinds = (factories.completed, factories.failed, factories.retried, factories.given_back)
        outcomes = [kinds[(turn + place) % 4](child) for place, child in enumerate(held)]
        await connection.execute("UPDATE lane SET open_until = NULL, failures = 0")
        claimed, *_ = await asyncio.gather(
            factories.claim(runner, by=node, slots=20),
            factories.settle(one, *outcomes[::2]),
            factories.settle(other, *reversed(outcomes[1::2])),
            children.stage(stager),
            waits.leave(api, going[:4]),
            waits.leave(third, going[:2:-1]),
            fan_out(connection),
        )
        held = claimed
    await recounted()
    lonely = (
        "SELECT count(*) FROM parent p WHERE mode = 'sync' AND finished_at IS NULL"
        " AND NOT EXISTS (SELECT FROM sync_wait w WHERE w.parent_id = p.id)"
    )
    assert await factories.scalar(connection, lonely) == 0


async def test_leaving_against_settle_and_claim_does_not_deadlock(connection, connect, recounted):
    """100 rounds: no parent stays sync without a caller, and every counter holds."""
    await rounds(connection, connect, recounted, 100)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_leaving_against_settle_and_claim_does_not_deadlock_in_many_rounds(
    connection, connect, recounted
):
    """The long form: 2,000 rounds."""
    await rounds(connection, connect, recounted, 2_000)
