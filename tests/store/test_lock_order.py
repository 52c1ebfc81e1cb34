"""One lock order for all: whoever waits for a lock holds nothing that comes after it."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from psycopg import AsyncConnection

from admission import usage
from orchestrator.fanout import fan_out
from orchestrator.store import children, parents, surfaces, waits
from orchestrator.surfaces import SurfaceDescriptor
from tests import factories

pytestmark = pytest.mark.anyio

Work = Callable[[AsyncConnection], Coroutine[Any, Any, Any]]

HOLD = {
    "parent": "SELECT id FROM parent WHERE id = %s FOR UPDATE",
    "lane": "SELECT id FROM lane WHERE id = %s FOR UPDATE",
    "usage": "SELECT key_id FROM usage WHERE key_id = %s FOR UPDATE",
    "lane_load": "SELECT lane_id FROM lane_load WHERE lane_id = %s FOR UPDATE",
}
FREE = {
    "parent": "SELECT id FROM parent ORDER BY 1 FOR UPDATE SKIP LOCKED",
    "child": "SELECT ordinal FROM child ORDER BY 1 FOR UPDATE SKIP LOCKED",
    "sync_wait": "SELECT id FROM sync_wait ORDER BY 1 FOR UPDATE SKIP LOCKED",
    "lane": "SELECT id FROM lane ORDER BY 1 FOR UPDATE SKIP LOCKED",
    "usage": "SELECT key_id FROM usage ORDER BY 1 FOR UPDATE SKIP LOCKED",
    "backlog": "SELECT key_id FROM backlog ORDER BY 1 FOR UPDATE SKIP LOCKED",
    "inflight": "SELECT lane_id FROM inflight ORDER BY 1 FOR UPDATE SKIP LOCKED",
    "lane_load": "SELECT lane_id FROM lane_load ORDER BY 1 FOR UPDATE SKIP LOCKED",
}


@pytest.fixture
def while_held(connection, connect, meeting):
    """What nobody holds of some tables while work waits for one row of another.

    `await while_held("usage", key, work, "inflight", …)`: one list of rows for each table named.
    """

    async def look(table: str, row: Any, work: Work, *others: str) -> list[list[Any]]:
        holder, worker = await connect(), await connect()
        async with holder.transaction():
            await holder.execute(HOLD[table], [row])
            task = await meeting.begin(worker, work(worker))
            assert not task.done()
            free = []
            for other in others:
                cursor = await connection.execute(FREE[other])
                free.append([one for (one,) in await cursor.fetchall()])
        await task
        return free

    return look


class Scene:
    """Two keys with two running children each, in two lanes."""

    @classmethod
    async def set(cls, connection) -> "Scene":
        scene = cls()
        scene.owners = [await factories.key(connection) for _ in range(2)]
        scene.keys = [owner.id for owner in scene.owners]
        scene.lanes = [await factories.lane(connection, country) for country in ("US", "GB")]
        scene.parents = [
            await factories.parent(connection, owner, scene.lanes) for owner in scene.owners
        ]
        await fan_out(connection)
        return scene

    async def claim(self, connection) -> None:
        self.claimed = await factories.claim(connection, by=4711)
        assert len(self.claimed) == 4

    async def settle(self, session) -> None:
        outcomes = [factories.retried(child) for child in sorted(self.claimed, reverse=True)]
        assert (await factories.settle(session, *outcomes)).children == 4

    async def settle_healthy(self, session) -> None:
        assert (await factories.complete(session, self.claimed)).children == 4

    async def attend(self, connection) -> None:
        """Now two more parents, one of each key, with a caller each; nothing else runs."""
        self.attended = [
            await factories.sync_parent(connection, owner, self.lanes) for owner in self.owners
        ]
        self.waits = await factories.waiting_for(connection, *self.attended)

    async def leave(self, session) -> None:
        await waits.leave(session, sorted(self.waits, reverse=True))

    async def rescue(self, session) -> None:
        async with session.transaction():
            assert (await children.rescue(session)).queued == 4


@pytest.fixture
async def scene(connection) -> Scene:
    return await Scene.set(connection)


@pytest.mark.parametrize("work", ["settle", "rescue"])
async def test_parents_are_locked_by_id(connection, scene, while_held, work):
    """Whoever waits for the older of two parents does not hold the younger."""
    await scene.claim(connection)
    old, new = scene.parents
    assert await while_held("parent", old, getattr(scene, work), "parent") == [[new]]


@pytest.mark.parametrize("work", ["settle", "rescue"])
async def test_parents_are_locked_before_children(connection, scene, while_held, work):
    """Whoever waits for a parent holds no child and no counter."""
    await scene.claim(connection)
    free = await while_held(
        "parent", scene.parents[1], getattr(scene, work), "child", "usage", "lane_load"
    )
    assert free == [[1, 1, 2, 2], scene.keys, scene.lanes]


@pytest.mark.parametrize("work", ["claim", "settle", "rescue"])
async def test_children_count_usage_first(connection, scene, while_held, work):
    """Whoever waits for a usage row holds no counter that comes after it."""
    if work != "claim":
        await scene.claim(connection)
    free = await while_held(
        "usage", scene.keys[0], getattr(scene, work), "backlog", "inflight", "lane_load"
    )
    assert free == [scene.keys, sorted(scene.lanes * 2), scene.lanes]


@pytest.mark.parametrize("work", ["claim", "settle", "rescue"])
async def test_children_count_usage_by_key(connection, scene, while_held, work):
    """Whoever waits for the usage of one key does not hold that of a later one."""
    if work != "claim":
        await scene.claim(connection)
    assert await while_held("usage", scene.keys[0], getattr(scene, work), "usage") == [
        scene.keys[1:]
    ]


@pytest.mark.parametrize("work", ["claim", "settle", "rescue"])
async def test_children_count_lanes_by_id(connection, scene, while_held, work):
    """Whoever waits for the load of one lane does not hold that of a later one."""
    if work != "claim":
        await scene.claim(connection)
    assert await while_held("lane_load", scene.lanes[0], getattr(scene, work), "lane_load") == [
        scene.lanes[1:]
    ]


async def test_parents_count_usage_first(connection, scene, while_held):
    """Also for whoever writes parents without having locked their usage before."""

    async def insert(session) -> None:
        await parents.insert(
            session, [factories.new_parent(owner, scene.lanes) for owner in scene.owners]
        )

    free = await while_held("usage", scene.keys[0], insert, "usage", "backlog", "inflight")
    assert free == [scene.keys[1:], scene.keys, sorted(scene.lanes * 2)]


async def test_admission_locks_usage_by_key(scene, while_held):
    """Whatever the order in which keys are asked for."""

    async def admit(session) -> None:
        async with session.transaction():
            await usage.lock(session, reversed(scene.keys))

    assert await while_held("usage", scene.keys[0], admit, "usage") == [scene.keys[1:]]


async def test_fan_out_locks_usage_by_key(connection, scene, while_held):
    """It holds the parents it moves, no usage out of order, and no counter yet."""
    for owner in scene.owners:
        await factories.parent(connection, owner, scene.lanes)
    free = await while_held("usage", scene.keys[0], fan_out, "usage", "backlog", "lane_load")
    assert free == [scene.keys[1:], scene.keys, scene.lanes]


async def test_limits_are_copied_by_key(connection, scene, while_held):
    """A statement that changes the limits of several keys locks their usage in order."""

    async def raise_all(session) -> None:
        await session.execute(
            "UPDATE api_key SET concurrency = 99 WHERE id = ANY(%s)", [scene.keys[::-1]]
        )

    assert await while_held("usage", scene.keys[0], raise_all, "usage") == [scene.keys[1:]]


async def test_settle_locks_lanes_by_id(connection, scene, while_held):
    """Whoever waits for the breaker of one lane does not hold that of a later one."""
    await scene.claim(connection)
    assert await while_held("lane", scene.lanes[0], scene.settle, "lane") == [scene.lanes[1:]]


async def test_settle_locks_lanes_after_parents_and_before_counters(connection, scene, while_held):
    """Whoever waits for a lane holds its parents and children, and no counter."""
    await scene.claim(connection)
    free = await while_held(
        "lane", scene.lanes[0], scene.settle, "parent", "child", "usage", "lane_load"
    )
    assert free == [[], [], scene.keys, scene.lanes]


async def test_settling_healthy_work_waits_for_no_lane(connection, connect, scene, meeting):
    """All workers settle at once: nothing is locked that need not be written."""
    await scene.claim(connection)
    holder, worker = await connect(), await connect()
    async with holder.transaction():
        await holder.execute(HOLD["lane"], [scene.lanes[0]])
        settled = await meeting.begin(worker, scene.settle_healthy(worker))
        assert settled.done()
    await settled


async def test_a_registration_locks_the_lanes_of_all_its_surfaces_by_id(
    connection, scene, while_held
):
    """Also where the lanes of a surface that comes first are younger than those of the next."""
    first = await factories.lane(connection, surface="a")
    asked = [
        SurfaceDescriptor(
            name=name,
            adapter="simulator",
            method="simulator",
            options_schema={},
            countries=("US",),
            concurrency=7,
            regions={},
        )
        for name in ("a", factories.SURFACE)
    ]

    async def register(session) -> None:
        async with session.transaction():
            await surfaces.register(session, asked)

    assert await while_held("lane", scene.lanes[0], register, "lane") == [[scene.lanes[1], first]]


async def test_leaving_locks_parents_by_id(connection, scene, while_held):
    """Whoever waits for the older of two parents does not hold the younger."""
    await scene.attend(connection)
    old, new = scene.attended
    free = await while_held("parent", old, scene.leave, "parent")
    assert set(free[0]) == {*scene.parents, new}


async def test_leaving_locks_parents_first(connection, scene, while_held):
    """Whoever waits for a parent holds neither a caller's row nor a counter."""
    await scene.attend(connection)
    free = await while_held(
        "parent", scene.attended[1], scene.leave, "sync_wait", "usage", "lane_load"
    )
    assert free == [sorted(scene.waits), scene.keys, scene.lanes]


async def test_leaving_counts_usage_by_key(connection, scene, while_held):
    """Whoever waits for the usage of one key does not hold that of a later one."""
    await scene.attend(connection)
    assert await while_held("usage", scene.keys[0], scene.leave, "usage") == [scene.keys[1:]]


async def test_leaving_deletes_callers_by_id(connection, connect, meeting, scene):
    """Of ended parents nobody holds a lock: two who delete the same rows do so in one order."""
    await scene.attend(connection)
    await connection.execute("UPDATE parent SET finished_at = now()")
    first, last = sorted(scene.waits)
    holder, worker = await connect(), await connect()
    async with holder.transaction():
        await holder.execute("SELECT FROM sync_wait WHERE id = %s FOR UPDATE", [first])
        task = await meeting.begin(worker, scene.leave(worker))
        assert not task.done()
        cursor = await connection.execute(FREE["sync_wait"])
        assert await cursor.fetchall() == [(last,)]
    await task
