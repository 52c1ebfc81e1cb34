"""A whole worker whose surfaces take one slot, or several."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import msgspec
import pytest

from orchestrator.settings import Settings
from orchestrator.store import steering
from tests import factories
from tests.waiting import eventually
from tests.workers.database import pool_of
from tests.workers.poison import Poison
from tests.workers.running import CONFIG, Surface, counted, waiting
from workers import captures
from workers import node as nodes
from workers.execution import Served
from workers.node import Node

pytestmark = pytest.mark.anyio

SLOTS, WEIGHT = 16, 2
LIGHT, HEAVY = 12, 2  # children that run at once


@pytest.fixture
def node(connection, database):
    """Opens a worker of 16 slots for a light surface and one of 2 slots a child; drains it."""

    @asynccontextmanager
    async def make(drain_seconds: float = 30) -> AsyncIterator[tuple[Surface, Surface]]:
        light, heavy = Surface(), Surface()
        weighty = msgspec.structs.replace(CONFIG, name="page", slots=WEIGHT)
        served = {"chatgpt": Served(CONFIG, light), "page": Served(weighty, heavy)}
        stopping = asyncio.Event()
        async with pool_of(database, most=6) as pool, asyncio.TaskGroup() as tasks:
            worker = Node(
                settings=Settings(drain_seconds=drain_seconds),
                url=database,
                pool=pool,
                node_id=await factories.node(connection, surfaces=list(served)),
                slots=SLOTS,
                served=served,
                heartbeat=SimpleNamespace(fresh=True),
                sealer=None,
            )
            tasks.create_task(worker.run(stopping))
            yield light, heavy
            stopping.set()

    return make


async def busy(light: Surface, heavy: Surface) -> None:
    """Wait until both have all they may."""

    async def full() -> bool:
        return (light.running, heavy.running) == (LIGHT, HEAVY)

    await eventually(full)


async def test_neither_weight_ever_takes_the_slots_of_the_other(connection, node):
    """However much there is of both, a heavy surface has a quarter, and everything is captured."""
    await waiting(connection, 40)
    await waiting(connection, 10, surface="page")
    async with node() as (light, heavy):
        await busy(light, heavy)
        light.released.set()
        heavy.released.set()

        async def all_done() -> bool:
            return await counted(connection) == {"completed": 50}

        await eventually(all_done)
    assert (light.most, heavy.most) == (LIGHT, HEAVY)


async def test_heavy_children_that_hang_hold_up_no_light_one(connection, node):
    """Nor the other way round: each have their own slots."""
    await waiting(connection, 10, surface="page")
    await waiting(connection, 40)
    async with node() as (light, heavy):
        light.released.set()

        async def light_done() -> bool:
            return (await counted(connection)).get("completed") == 40

        await eventually(light_done)
        assert heavy.running == HEAVY
        heavy.released.set()


async def test_a_leaving_worker_gives_back_children_of_every_weight(connection, node):
    """When its time to drain is over."""
    await waiting(connection, 20)
    await waiting(connection, 5, surface="page")
    async with node(drain_seconds=0) as (light, heavy):
        await busy(light, heavy)
    assert await counted(connection) == {"queued": 25}


async def test_what_is_told_to_stop_is_interrupted_whatever_its_weight(connection, node):
    """A cancel ends captures in each share."""
    (light_parent,) = await waiting(connection, 2)
    (heavy_parent,) = await waiting(connection, 2, surface="page")
    async with node() as (light, heavy):

        async def running() -> bool:
            return (light.running, heavy.running) == (2, 2)

        await eventually(running)
        for parent in (light_parent, heavy_parent):
            told = "SELECT key_id FROM parent WHERE id = %s"
            key = await factories.scalar(connection, told, parent)
            async with connection.transaction():
                await steering.cancel(connection, key_id=key, parent=parent, ordinal=None)

        async def canceled() -> bool:
            return await counted(connection) == {"canceled": 4}

        await eventually(canceled)
    assert (light.running, heavy.running) == (0, 0)


async def test_a_worker_with_too_much_that_nobody_can_end_makes_way(connection, node, monkeypatch):
    """It drains by itself, for its supervisor to start a fresh one."""
    monkeypatch.setattr(nodes, "MOST_ABANDONED", 2)
    poison = Poison()
    await waiting(connection, LIGHT)
    async with node(drain_seconds=0) as (light, _):

        async def busy_light() -> bool:
            return light.running == LIGHT

        async def all_given_back() -> bool:
            return await counted(connection) == {"queued": LIGHT}

        await eventually(busy_light)
        for _ in range(2):
            with pytest.raises(captures.OverdueError):
                await captures.bounded(poison.deaf(None), 0.01)
        await eventually(all_given_back)
    poison.heard.set()
