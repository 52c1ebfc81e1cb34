"""The cap of open streams and long polls holds over all processes, and heals by itself."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from orchestrator.fanout import fan_out
from orchestrator.store import children
from orchestrator.store import watchers as stored
from orchestrator.watchers import MOST, Watchers
from tests import factories
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def process(new_pool, connection):
    """Opens the watchers of one more process, with the id of its node."""
    async with AsyncExitStack() as opened:

        @asynccontextmanager
        async def running(made: Watchers):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(made.run())
                try:
                    yield
                finally:
                    made.close()

        async def make() -> tuple[Watchers, int]:
            node = await factories.api_node(connection)
            made = Watchers(await new_pool(), node=lambda: node)
            await opened.enter_async_context(running(made))
            return made, node

        yield make


async def rows(connection) -> dict[tuple[int, int], int]:
    cursor = await connection.execute("SELECT key_id, node, n FROM watcher")
    return {(key, node): n async for key, node, n in cursor}


async def take(process: Watchers, key_id: int, exits: AsyncExitStack) -> bool:
    return await exits.enter_async_context(process.place(key_id))


async def test_a_key_never_has_more_than_its_places_over_two_processes(process, connection):
    """Of many that come at once to two processes exactly as many are let in as there is room."""
    (first, one), (second, two) = await process(), await process()
    owner, other = [(await factories.key(connection)).id for _ in range(2)]
    async with AsyncExitStack() as exits:
        asking = [take(door, owner, exits) for _ in range(60) for door in (first, second)]
        taken = await asyncio.gather(*asking)
        assert taken.count(True) == MOST
        held = await rows(connection)
        assert held[owner, one] + held[owner, two] == MOST
        assert len(first) + len(second) == MOST
        assert await take(first, other, exits)
        assert not await take(second, owner, exits)

    async def none() -> bool:
        return await rows(connection) == {}

    await eventually(none)
    async with first.place(owner) as placed:
        assert placed


async def test_whoever_leaves_before_the_place_is_there_has_none(process, connection, connect):
    """A place that was asked for by somebody who has gone is given back."""
    door, _ = await process()
    owner = (await factories.key(connection)).id
    blocker = await connect()
    async with blocker.transaction():
        await stored.hold(blocker, 0, [owner])
        leaving = asyncio.create_task(take(door, owner, AsyncExitStack()))

        async def asked() -> bool:
            return await factories.scalar(
                connection, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"
            )

        await eventually(asked)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)

    async def none() -> bool:
        return len(door) == 0 and await rows(connection) == {}

    await eventually(none)


async def test_the_places_of_a_dead_process_are_free(process, connection):
    """Its rows count for nothing, whether or not they were deleted; those of the living stay."""
    door, living = await process()
    dead = await factories.api_node(connection, age_seconds=60)
    owner = (await factories.key(connection)).id
    await stored.write(connection, dead, {owner: MOST})
    await stored.write(connection, 4711, {owner: MOST})  # a node whose row is gone
    async with door.place(owner) as placed:
        assert placed
        assert await stored.forget_dead(connection) == 2
        assert await rows(connection) == {(owner, living): 1}


async def test_rows_that_lie_are_made_to_agree(process, connection):
    """A row that was lost or never given back is as the process knows after its next word."""
    door, node = await process()
    owner = (await factories.key(connection)).id
    async with door.place(owner) as first:
        await connection.execute("UPDATE watcher SET n = 70")
        async with door.place(owner) as second:
            assert (first, second) == (True, True)
            assert await rows(connection) == {(owner, node): 2}


async def test_a_place_that_could_not_be_stored_is_not_taken(process, connection):
    """Who asks while the database refuses gets its error; nothing is counted for them."""
    door, _ = await process()
    owner = (await factories.key(connection)).id
    await connection.execute("ALTER TABLE watcher RENAME TO away")
    with pytest.raises(Exception, match="watcher"):
        await take(door, owner, AsyncExitStack())
    await connection.execute("ALTER TABLE away RENAME TO watcher")
    assert len(door) == 0
    async with door.place(owner) as placed:
        assert placed


async def version(connection, of: Any, **named: Any) -> stored.Version | None:
    return (await stored.versions(connection, [of], **named)).get(of)


async def test_a_version_changes_with_what_clients_see_and_only_then(connection):
    """The status of a parent, its run, a child's status or attempts: not what happens between."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    parent = await factories.parent(connection, owner, [lane, lane])
    seen = [await version(connection, parent)]

    async def changed(*, to: bool) -> None:
        now = await version(connection, parent)
        assert (now != seen[-1]) is to
        seen.append(now)

    await changed(to=False)
    await fan_out(connection)
    await changed(to=True)
    first, second = await factories.claim(connection)
    await changed(to=True)
    await factories.settle(connection, factories.retried(first))
    await changed(to=True)
    await children.stage(connection)
    await changed(to=False)
    (again,) = await factories.claim(connection)
    await changed(to=True)
    await factories.complete(connection, [second])
    await changed(to=True)
    await factories.complete(connection, [again])
    await changed(to=True)
    assert seen[-1].ended
    assert not seen[-2].ended


async def test_a_parent_of_another_key_has_no_version(connection):
    """Nor has one that is not there."""
    owner, other = [await factories.key(connection) for _ in range(2)]
    parent = await factories.parent(connection, owner, [await factories.lane(connection)])
    assert await version(connection, parent, key_id=owner.id) is not None
    assert await version(connection, parent, key_id=other.id) is None
    await connection.execute("DELETE FROM parent")
    assert await version(connection, parent) is None
