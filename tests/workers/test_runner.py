import asyncio
from functools import partial

import psycopg
import pytest
from cachetools import LRUCache

from orchestrator.notify import POLL_SECONDS
from orchestrator.store import children, counters, steering
from orchestrator.store.children.claim import LOCK_ID
from tests import factories
from tests.waiting import eventually
from tests.workers.database import pool_of
from tests.workers.running import counted, cut, lose_an_answer, waiting, working
from workers.errors import SurfaceError
from workers.roles.interrupter import Interrupter

pytestmark = pytest.mark.anyio


async def charged(connection, parent) -> int:
    """The credits a parent was charged; its children say the same."""
    told = "SELECT charged FROM parent WHERE id = %s"
    cells = "SELECT sum(charged) FROM child WHERE parent_id = %s"
    charge = int(await factories.scalar(connection, told, parent))
    assert await factories.scalar(connection, cells, parent) == charge
    return charge


@pytest.fixture
def start(connection, database):
    """Opens a worker; it is flushed and ended at the end of the block."""
    return partial(working, connection, database)


async def test_a_runner_fills_its_slots_and_no_more(connection, start):
    """It claims what it has room for; what ends makes room for the next."""
    await waiting(connection, 7)
    async with start(slots=3) as worker:
        assert await worker.runner.step() == 0
        assert worker.runner.running == 3
        assert await worker.runner.step() == POLL_SECONDS
        assert await counted(connection) == {"processing": 3, "queued": 4}
        worker.surface.released.set()
        await worker.idle()
        while await worker.runner.step() == 0:
            await worker.idle()
    assert worker.surface.most == 3
    assert await counted(connection) == {"completed": 7}


async def test_each_cell_is_asked_for_as_it_was_submitted(connection, start):
    """Query, surface, region, options and attempt come from the plan and the claim."""
    (parent,) = await waiting(connection, 2, query="green tea", options={"chatgpt": {"a": 1}})
    async with start() as worker:
        await worker.runner.step()
        worker.surface.released.set()
    asked = sorted(worker.surface.asked, key=lambda request: request.child)
    assert [(r.query, r.surface, r.country, r.city, r.attempt) for r in asked] == [
        ("green tea", "chatgpt", "US", "City 0", 1),
        ("green tea", "chatgpt", "US", "City 1", 1),
    ]
    assert asked[0].options == {"a": 1}
    assert asked[0].child.endswith(".chatgpt.us_city-0")
    row = await children.one(connection, parent, 1)
    assert row is not None
    assert b'"tea"' in bytes(row.capture or b"")


async def test_a_node_that_cannot_beat_starts_nothing(connection, start):
    """What runs goes on, nothing new is claimed."""
    await waiting(connection, 2)
    alive = [True]
    async with start(slots=1, may_start=lambda: alive[0]) as worker:
        await worker.runner.step()
        alive.clear()
        alive.append(False)
        worker.surface.released.set()
        await worker.idle()
        assert await worker.runner.step() == POLL_SECONDS
    assert await counted(connection) == {"completed": 1, "queued": 1}


async def test_transient_failures_are_tried_again_and_permanent_ones_are_not(connection, start):
    """A retry waits for its pause; a permanent failure is the end."""
    (parent,) = await waiting(connection)
    async with start() as worker:
        worker.surface.released.set()
        worker.surface.error = SurfaceError("UPSTREAM_STATUS", "503", permanent=False)
        await worker.runner.step()
        await worker.idle()

        async def settled() -> bool:
            return await factories.states(connection, parent) == ["retrying"]

        await eventually(settled)
        await connection.execute("UPDATE child SET run_at = now()")
        await children.stage(connection)
        worker.surface.error = SurfaceError("UPSTREAM_STATUS", "404", permanent=True)
        await worker.runner.step()
    assert await factories.states(connection, parent) == ["failed"]
    assert [request.attempt for request in worker.surface.asked] == [1, 2]


async def test_a_capture_that_was_told_to_stop_is_interrupted(connection, database, start):
    """The interrupter finds it; it ends as it was told to, its slot held until it is settled."""
    (parent,) = await waiting(connection, 2)
    async with start() as worker, pool_of(database) as pool:
        await worker.runner.step()
        node = await factories.scalar(connection, "SELECT max(node) FROM child")
        interrupter = Interrupter(pool, node=node, interrupt=worker.runner.interrupt)
        assert await interrupter.step() == POLL_SECONDS
        assert worker.runner.running == 2
        key = await factories.scalar(connection, "SELECT key_id FROM parent")
        async with connection.transaction():
            await steering.cancel(connection, key_id=key, parent=parent, ordinal=1)
        await interrupter.step()
        await interrupter.step()

        async def settled() -> bool:
            return await factories.states(connection, parent) == ["canceled", "processing"]

        await eventually(settled)
        assert worker.surface.running == worker.runner.running == 1
    assert await counted(connection) == {"canceled": 1, "completed": 1}


async def test_a_capture_interrupted_before_it_began_is_given_back(connection, start):
    """No outcome is lost: nothing of it had run yet."""
    await waiting(connection)
    async with start() as worker:
        await worker.runner.step()
        worker.runner.give_back()
        await worker.idle()

        async def back() -> bool:
            return await counted(connection) == {"queued": 1}

        await eventually(back)
    assert worker.surface.asked == []


async def test_what_a_cell_costs_is_charged_when_it_shows_something(connection, start):
    """By the price at admission; the parent's charge is their sum. An empty capture costs none."""
    (parent,) = await waiting(connection, 2, costs={"chatgpt": 3})
    (empty,) = await waiting(connection, 2, costs={"chatgpt": 3}, query="nothing")
    async with start() as worker:
        worker.surface.released.set()
        await worker.runner.step()
    assert await charged(connection, parent) == 6
    assert await charged(connection, empty) == 0


async def test_a_plan_may_ask_for_fewer_attempts(connection, start):
    """With `maxAttempts` 1 a transient failure is the end."""
    (parent,) = await waiting(connection, max_attempts=1)
    async with start() as worker:
        worker.surface.released.set()
        worker.surface.error = SurfaceError("UPSTREAM_STATUS", "503", permanent=False)
        await worker.runner.step()
    assert await factories.states(connection, parent) == ["failed"]


async def test_what_is_given_back_is_ready_again_and_was_never_tried(connection, start):
    """A leaving node interrupts its captures: no attempt counted, nothing left behind."""
    (parent,) = await waiting(connection, 3)
    async with start() as worker:
        await worker.runner.step()

        async def asked() -> bool:
            return len(worker.surface.asked) == 3

        await eventually(asked)
        worker.runner.give_back()
    rows = await children.of(connection, parent)
    assert [(str(row.state), row.attempt) for row in rows] == [("queued", 0)] * 3
    assert worker.surface.running == 0


async def test_a_claim_whose_answer_was_lost_is_run_all_the_same(connection, database, start):
    """The node lives, so nobody would rescue its children: it asks what it took, and runs that."""
    (parent,) = await waiting(connection, 4)
    async with start() as worker:
        worker.surface.released.set()
        await lose_an_answer(connection, database, worker)
        assert await counted(connection) == {"processing": 4}
        await worker.runner.step()
    assert await factories.states(connection, parent) == ["completed"] * 4
    rows = await children.of(connection, parent)
    assert {row.attempt for row in rows} == {1}
    assert await counters.differences(connection) == []


async def test_a_claim_that_never_happened_is_made_anew(connection, database, start):
    """When the connection broke before the claim, the next step finds nothing taken and claims."""
    (parent,) = await waiting(connection, 2)
    async with start() as worker, await psycopg.AsyncConnection.connect(database) as holder:
        worker.surface.released.set()
        await holder.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK_ID])
        step = asyncio.create_task(worker.runner.step())
        await eventually(lambda: cut(connection, "locktype = 'advisory'"))
        with pytest.raises(psycopg.OperationalError):
            await step
        await holder.rollback()
        await worker.runner.step()
        assert worker.runner.running == 0
        await worker.runner.step()
    assert await factories.states(connection, parent) == ["completed"] * 2


async def test_a_plan_forgotten_while_others_are_read_is_read_again(connection, start):
    """A claim over more parents than are remembered starts each of its children."""
    await waiting(connection, 2, n=6)
    async with start(slots=6) as worker:
        worker.surface.released.set()
        worker.runner._sheets = LRUCache(3)
        for _ in range(6):
            await worker.runner.step()
            await worker.idle()
    assert await counted(connection) == {"completed": 12}
