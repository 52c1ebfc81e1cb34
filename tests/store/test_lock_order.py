"""One lock order for all: whoever waits for a lock holds nothing that comes after it."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from psycopg import AsyncConnection

from admission import usage
from orchestrator.fanout import fan_out
from orchestrator.store import children, parents
from tests import factories

pytestmark = pytest.mark.anyio

Work = Callable[[AsyncConnection], Coroutine[Any, Any, Any]]

HOLD = {
    "parent": "SELECT id FROM parent WHERE id = %s FOR UPDATE",
    "usage": "SELECT key_id FROM usage WHERE key_id = %s FOR UPDATE",
    "lane_load": "SELECT lane_id FROM lane_load WHERE lane_id = %s FOR UPDATE",
}
FREE = {
    "parent": "SELECT id FROM parent ORDER BY 1 FOR UPDATE SKIP LOCKED",
    "child": "SELECT ordinal FROM child ORDER BY 1 FOR UPDATE SKIP LOCKED",
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
