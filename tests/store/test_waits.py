import asyncio
from uuid import UUID

import pytest

from orchestrator import notify
from orchestrator.domain import ids
from orchestrator.fanout import fan_out
from orchestrator.store import children, nodes, waits
from orchestrator.store.children.rescue import LOST_LIMIT
from tests import factories

pytestmark = pytest.mark.anyio

DETACHED = "SELECT detached FROM usage"


async def leave(connection, *parents: UUID) -> None:
    """All callers of these parents leave."""
    await waits.leave(connection, await factories.waiting_for(connection, *parents))


async def test_a_parent_whose_only_caller_left_is_detached(connection, recounted):
    """It goes on, its children as they were; the caller's row is gone."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    parent = await factories.sync_parent(connection, owner, [lane, lane])
    await factories.claim(connection, slots=1)
    await leave(connection, parent)
    assert await factories.mode(connection, parent) == "detached"
    assert await factories.waiting_for(connection, parent) == []
    assert sorted(await factories.states(connection, parent)) == ["processing", "queued"]
    assert await factories.scalar(connection, "SELECT min(priority) FROM child") == 105
    assert await factories.scalar(connection, DETACHED) == 1
    await recounted()


async def test_a_parent_is_detached_by_its_last_caller(connection, recounted):
    """While another waits it stays sync."""
    owner = await factories.key(connection)
    parent = await factories.sync_parent(connection, owner, [await factories.lane(connection)])
    second = await factories.join(connection, owner, parent)
    await waits.leave(connection, [second])
    assert await factories.mode(connection, parent) == "sync"
    await leave(connection, parent)
    assert await factories.mode(connection, parent) == "detached"
    await recounted()


async def test_callers_who_leave_together_are_all_gone(connection, recounted):
    """Those of one parent, of several, of several keys; some that are unknown or named twice."""
    lane = await factories.lane(connection)
    owners = [await factories.key(connection) for _ in range(2)]
    made = [await factories.sync_parent(connection, owner, [lane]) for owner in owners * 2]
    kept = await factories.sync_parent(connection, owners[0], [lane])
    await factories.join(connection, owners[0], made[0])
    going = await factories.waiting_for(connection, *made)
    await waits.leave(connection, [*going, going[0], 4711])
    assert {await factories.mode(connection, parent) for parent in made} == {"detached"}
    assert await factories.mode(connection, kept) == "sync"
    assert await factories.scalar(connection, "SELECT count(*) FROM sync_wait") == 1
    assert await factories.scalar(connection, "SELECT array_agg(detached) FROM usage") == [2, 2]
    await recounted()
    await waits.leave(connection, going)
    await waits.leave(connection, [])
    assert await factories.scalar(connection, "SELECT sum(detached)::int FROM usage") == 4


async def test_a_caller_whose_parent_has_ended_just_goes(connection, recounted):
    """What has ended is not detached, and no counter is written."""
    owner = await factories.key(connection)
    parent = await factories.sync_parent(connection, owner, [await factories.lane(connection)])
    await factories.complete(connection, await factories.claim(connection))
    before = await factories.scalar(connection, "SELECT xmin::text FROM usage")
    await leave(connection, parent)
    assert await factories.mode(connection, parent) == "sync"
    assert await factories.waiting_for(connection, parent) == []
    assert await factories.scalar(connection, "SELECT xmin::text FROM usage") == before
    await recounted()


async def test_a_detached_parent_that_ends_is_counted_no_more(connection, recounted):
    """The place it took beyond the limit is free."""
    owner = await factories.key(connection)
    parent = await factories.sync_parent(connection, owner, [await factories.lane(connection)])
    await leave(connection, parent)
    await factories.complete(connection, await factories.claim(connection))
    assert await factories.scalar(connection, DETACHED) == 0
    assert await factories.mode(connection, parent) == "detached"
    await recounted()


async def test_a_parent_that_was_detached_stays_so(connection, recounted):
    """A caller who joined it later and leaves detaches nothing a second time."""
    owner = await factories.key(connection)
    parent = await factories.sync_parent(connection, owner, [await factories.lane(connection)])
    await leave(connection, parent)
    await waits.leave(connection, [await factories.join(connection, owner, parent)])
    assert await factories.scalar(connection, DETACHED) == 1
    await recounted()


async def test_a_caller_who_waits_for_an_async_parent_detaches_nothing(connection, recounted):
    """It was asked for without anybody waiting, and goes on as before."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    waiting, running = await factories.some_parents(connection, owner, [lane], n=2)
    await fan_out(connection, parents=1)
    for parent in (waiting, running):
        await waits.leave(connection, [await factories.join(connection, owner, parent)])
        assert await factories.mode(connection, parent) == "async"
    await recounted()


async def test_what_ended_is_known_by_asking(connection):
    """Those that ended and those that are gone; not those that are live."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    done = await factories.sync_parent(connection, owner, [lane])
    await factories.complete(connection, await factories.claim(connection))
    live = await factories.sync_parent(connection, owner, [lane])
    queued = await factories.parent(connection, owner, [lane])
    gone = ids.new()
    assert set(await waits.ended(connection, [live, done, gone, queued])) == {done, gone}
    assert await waits.ended(connection, []) == []


async def test_rows_a_process_does_not_know_are_swept(connection, recounted):
    """Its own only, and none so young that its caller may just have come."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    node, other = [await factories.api_node(connection) for _ in range(2)]
    known, lost = [
        await factories.sync_parent(connection, owner, [lane], node=node) for _ in range(2)
    ]
    foreign = await factories.sync_parent(connection, owner, [lane], node=other)
    await connection.execute("UPDATE sync_wait SET since = since - interval '1 minute'")
    young = await factories.sync_parent(connection, owner, [lane], node=node)
    live = await factories.waiting_for(connection, known)
    await waits.sweep(connection, node, live)
    modes = [await factories.mode(connection, parent) for parent in (known, lost, foreign, young)]
    assert modes == ["sync", "detached", "sync", "sync"]
    await waits.sweep(connection, node, [])
    assert await factories.mode(connection, known) == "detached"
    await recounted()


async def test_callers_of_dead_api_processes_are_forgotten(connection, recounted):
    """Silent for ten seconds, or not known at all; those of the living keep their places."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    alive = await factories.api_node(connection, age_seconds=nodes.DEAD_AFTER_SECONDS - 5)
    dead = await factories.api_node(connection, age_seconds=nodes.DEAD_AFTER_SECONDS + 1)
    made = [
        await factories.sync_parent(connection, owner, [lane], node=node)
        for node in (alive, dead, 4711)
    ]
    assert await waits.forget_dead(connection) == 2
    modes = [await factories.mode(connection, parent) for parent in made]
    assert modes == ["sync", "detached", "detached"]
    assert await waits.forget_dead(connection) == 0
    await recounted()


async def test_the_dead_are_forgotten_in_bounded_batches(connection):
    """At most so many at once; the rest next."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    for _ in range(5):
        await factories.sync_parent(connection, owner, [lane], node=4711)
    forgotten = [await waits.forget_dead(connection, most=2) for _ in range(4)]
    assert forgotten == [2, 2, 1, 0]


async def test_a_dead_api_process_is_buried_when_no_caller_is_left(connection):
    """Its row stays while its callers' rows do, so that whoever looks finds it dead."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    dead = await factories.api_node(connection, age_seconds=60)
    await factories.sync_parent(connection, owner, [lane], node=dead)
    assert await nodes.bury(connection) == []
    await waits.forget_dead(connection)
    assert await nodes.bury(connection) == [dead]


@pytest.fixture
async def hear(connect):
    """What was told on the channel of ended parents, up to a mark of our own."""
    listener, teller = await connect(), await connect()
    await listener.execute(f"LISTEN {notify.ENDED}")

    async def payloads() -> list[str]:
        await teller.execute("SELECT pg_notify(%s, 'mark')", [notify.ENDED])
        heard = []
        async with asyncio.timeout(10):
            async for one in listener.notifies():
                if one.payload == "mark":
                    break
                heard.append(one.payload)
        return heard

    return payloads


async def test_the_end_of_a_parent_is_told_when_somebody_waits(connection, hear):
    """One notification a batch, with the ids of those waited for; an end nobody waits for: none."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    waited = [await factories.sync_parent(connection, owner, [lane]) for _ in range(2)]
    joined, alone = await factories.some_parents(connection, owner, [lane], n=2)
    await factories.join(connection, owner, joined)
    for _ in range(2):
        await factories.join(connection, owner, waited[0])
    longer = await factories.sync_parent(connection, owner, [lane, lane])
    await fan_out(connection)
    claimed = await factories.claim(connection)
    last = next(child for child in claimed if child.parent_id == longer)
    settled = await factories.complete(connection, [child for child in claimed if child != last])
    assert set(settled.parents) == {*waited, joined, alone}
    (payload,) = await hear()
    assert {UUID(hex=name) for name in payload.split(",")} == {*waited, joined}
    assert payload.count(",") == 2
    assert await factories.complete(connection, [last])
    assert await hear() == [longer.hex]


async def test_nothing_is_told_when_nobody_waits(connection, hear):
    """Neither of what ended, nor of what goes on, nor of what ended before."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    left = await factories.sync_parent(connection, owner, [lane])
    await leave(connection, left)
    await factories.parent(connection, owner, [lane])
    await fan_out(connection)
    await factories.complete(connection, await factories.claim(connection))
    waited = await factories.sync_parent(connection, owner, [lane])
    (child,) = await factories.claim(connection)
    await factories.settle(connection, factories.retried(child))
    assert await hear() == []
    await children.stage(connection)
    claimed = await factories.claim(connection)
    await factories.complete(connection, claimed)
    assert await hear() == [waited.hex]
    await factories.complete(connection, claimed)
    assert await hear() == []


async def test_more_ends_than_a_notification_can_name_are_told_as_some(connection, hear):
    """An empty payload: look at all you wait for."""
    owner = await factories.key(connection, concurrency=500)
    lane = await factories.lane(connection, concurrency=500)
    for n in (239, 240):
        made = await factories.some_parents(connection, owner, [lane], n=n)
        for parent in made:
            await factories.join(connection, owner, parent)
        while await fan_out(connection, parents=200):
            pass
        await factories.complete(connection, await factories.claim(connection, slots=300))
    whole, some = await hear()
    assert len(whole.split(",")) == 239
    assert some == ""


async def test_the_end_of_a_parent_whose_worker_died_is_told(connection, hear):
    """A child lost for good ends its parent as well."""
    owner = await factories.key(connection)
    parent = await factories.sync_parent(connection, owner, [await factories.lane(connection)])
    await factories.claim(connection, by=4711)
    async with connection.transaction():
        await children.rescue(connection)
    assert await hear() == []
    await connection.execute("UPDATE child SET lost = %s", [LOST_LIMIT - 1])
    await factories.claim(connection, by=4711)
    async with connection.transaction():
        assert (await children.rescue(connection)).parents == [parent]
    assert await hear() == [parent.hex]
