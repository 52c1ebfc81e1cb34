"""Lanes with a rate: what starts late would reach the upstream in a burst."""

import asyncio
from functools import partial

import msgspec
import psycopg
import pytest

from orchestrator.domain.lanes import refill
from orchestrator.notify import POLL_SECONDS
from orchestrator.store import children
from orchestrator.store.children.claim import LOCK_ID
from tests import factories
from tests.waiting import eventually
from tests.workers.running import CONFIG, counted, lose_an_answer, waiting, working
from workers.roles.runner import SHORTEST_SECONDS, START_SECONDS

pytestmark = pytest.mark.anyio

WAITS = """
SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted
"""
PACED = msgspec.structs.replace(CONFIG, rate="5/s")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def start(connection, database):
    """Opens a worker; it is flushed and ended at the end of the block."""
    return partial(working, connection, database)


async def test_a_start_that_comes_too_late_is_given_back(connection, start):
    """A process that stalled after its claim asks no upstream; the attempt is not counted."""
    (parent,) = await waiting(connection, 2)
    clock = Clock()
    async with start(config=PACED, clock=clock) as worker:
        assert await worker.runner.step() == 0
        clock.now += START_SECONDS + 1
        await worker.idle()

        async def back() -> bool:
            return await counted(connection) == {"queued": 2}

        await eventually(back)
    assert worker.surface.asked == []
    assert {row.attempt for row in await children.of(connection, parent)} == {0}


async def test_a_start_in_time_is_made(connection, start):
    """Up to the last moment."""
    await waiting(connection, 2)
    clock = Clock()
    async with start(config=PACED, clock=clock) as worker:
        await worker.runner.step()
        clock.now += START_SECONDS
    assert await counted(connection) == {"completed": 2}


async def test_what_a_claim_waited_for_others_is_not_late(connection, database, start):
    """Its tokens are reckoned from when it was decided, however many claims came before."""
    await waiting(connection, 2)
    clock = Clock()
    async with (
        start(config=PACED, clock=clock) as worker,
        await psycopg.AsyncConnection.connect(database) as holder,
    ):
        await holder.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK_ID])
        step = asyncio.create_task(worker.runner.step())
        await eventually(lambda: waits_for_a_lock(connection))
        await connection.execute("SELECT pg_sleep(%s)", [START_SECONDS + 0.05])
        clock.now += START_SECONDS + 0.05
        await holder.rollback()
        await step
    assert await counted(connection) == {"completed": 2}


async def waits_for_a_lock(connection) -> bool:
    """Whether a claim waits for another."""
    return bool(await factories.scalar(connection, WAITS))


async def test_without_a_rate_a_late_start_is_as_good_as_any(connection, start):
    """Concurrency does not care when it begins."""
    await waiting(connection, 2)
    clock = Clock()
    async with start(clock=clock) as worker:
        await worker.runner.step()
        clock.now += 1000
    assert await counted(connection) == {"completed": 2}


async def test_the_time_until_the_answer_of_a_claim_counts(connection, database, start):
    """What a claim had taken whose answer was lost is too old when the worker asks for it."""
    await waiting(connection, 2)
    clock = Clock()
    async with start(config=PACED, clock=clock) as worker:
        await lose_an_answer(connection, database, worker)
        assert await counted(connection) == {"processing": 2}
        clock.now += 1
        await worker.runner.step()
        await worker.idle()
    assert worker.surface.asked == []
    assert await counted(connection) == {"queued": 2}


async def test_a_runner_sleeps_until_the_next_start_is_allowed(connection, start):
    """When a rate is all that holds children up, it does not wait for its next look."""
    await waiting(connection, 20, rate="2/s")
    async with start(slots=20, config=PACED) as worker:
        while not (rest := await worker.runner.step()):
            pass
    assert SHORTEST_SECONDS <= rest <= 1 / refill(2.0) < POLL_SECONDS


async def test_a_runner_that_only_waits_for_others_looks_each_second(connection, start):
    """A lane that an operator paused is not looked at more often."""
    await waiting(connection, 2)
    await connection.execute("UPDATE lane SET paused_at = now()")
    async with start() as worker:
        assert await worker.runner.step() == POLL_SECONDS
    assert worker.surface.asked == []
