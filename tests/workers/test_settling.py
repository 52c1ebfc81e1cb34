import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from structlog.testing import capture_logs

from orchestrator.domain.envelope import Failure
from orchestrator.fanout import fan_out
from orchestrator.store import children
from orchestrator.store.children import Completed, Retry
from tests import factories
from tests.waiting import eventually
from tests.workers.database import away, pool_of, read_only
from workers.settling import LARGEST_FLUSH, MOST_HELD, Settler

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def unprinted() -> Iterator[None]:
    """Tracebacks of what is refused on purpose are not drawn."""
    with capture_logs():
        yield


@asynccontextmanager
async def settling(database, told=None, **limits) -> AsyncIterator[Settler]:
    """A settler that runs; closed and flushed at the end."""
    async with pool_of(database) as pool:
        settler = Settler(pool, (told if told is not None else []).append, **limits)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(settler.run())
            yield settler
            settler.close()


async def claimed(connection, cells: int):
    """A parent and the claims of its cells in ordinal order."""
    owner = await factories.key(connection, concurrency=10_000)
    lane = await factories.lane(connection, concurrency=10_000)
    parent = await factories.parent(connection, owner, [lane] * cells)
    await fan_out(connection)
    return parent, sorted(await factories.claim(connection, slots=cells))


async def states(database, parent) -> list[str]:
    """The states of its children, read by a session of its own."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as session:
        return await factories.states(session, parent)


async def test_what_was_put_is_recorded_before_the_end(connection, database):
    """Closing flushes everything held; each child gets its own outcome."""
    parent, (one, two, three) = await claimed(connection, 3)
    async with settling(database) as settler:
        settler.put(factories.completed(one))
        settler.put(factories.failed(two))
        settler.put(factories.given_back(three))
    assert await factories.states(connection, parent) == ["completed", "failed", "queued"]


async def test_outcomes_gather_while_a_flush_is_under_way(connection, database):
    """A hundred outcomes at once take few flushes, not a hundred."""
    parent, held = await claimed(connection, 100)
    told: list[bool] = []
    async with settling(database, told) as settler:
        for child in held:
            settler.put(factories.completed(child))
    assert await factories.states(connection, parent) == ["completed"] * 100
    assert told == [False]
    assert LARGEST_FLUSH >= 100


async def test_the_stager_hears_of_retries_only(connection, database):
    """After each flush it is told whether some child will be tried again."""
    _, (one, two) = await claimed(connection, 2)
    told: list[bool] = []
    async with settling(database, told) as settler:
        settler.put(factories.completed(one))
    async with settling(database, told) as settler:
        settler.put(factories.retried(two))
    assert told == [False, True]


@pytest.mark.parametrize("capture", ['{"answer": ', "", '"\x00"', '"\ud800"'])
async def test_a_capture_that_cannot_be_stored_fails_alone(connection, database, capture):
    """Its child fails and says why; the others of the flush are recorded as they were."""
    parent, held = await claimed(connection, 5)
    async with settling(database) as settler:
        for child in held:
            text = capture if child.ordinal == 3 else factories.CAPTURE
            settler.put(Completed(factories.fence(child), text))
    assert await factories.states(connection, parent) == [
        "completed",
        "completed",
        "failed",
        "completed",
        "completed",
    ]
    row = await children.one(connection, parent, 3)
    assert row is not None
    assert row.error is not None
    assert row.error.code == "BAD_RESPONSE"
    assert not row.error.retryable


async def test_a_failure_that_cannot_be_written_fails_its_child_all_the_same(connection, database):
    """Half a character from an upstream in the message holds up nobody, and the child ends."""
    parent, (one, two) = await claimed(connection, 2)
    strange = Failure(code="BAD_RESPONSE", message="not \ud83c tea", retryable=True)
    async with settling(database) as settler:
        settler.put(Retry(factories.fence(one), strange, 0.0))
        settler.put(factories.completed(two))
    assert await factories.states(connection, parent) == ["failed", "completed"]


async def test_an_outcome_that_is_none_fails_alone(connection, database):
    """Whatever is wrong with it, the others are recorded, and so is its end."""
    parent, (one, two, three) = await claimed(connection, 3)
    strange = Failure(code=ValueError("no"), message="no", retryable=True)
    async with settling(database) as settler:
        settler.put(factories.completed(one))
        settler.put(children.Failed(factories.fence(two), strange))
        settler.put(factories.completed(three))
    assert await factories.states(connection, parent) == ["completed", "failed", "completed"]


async def test_large_captures_go_in_several_statements(connection, database):
    """A flush never makes a message that PostgreSQL would refuse; an outcome alone always goes."""
    parent, held = await claimed(connection, 4)
    with capture_logs() as logs:
        async with settling(database, most_characters=len(factories.CAPTURE) * 2) as settler:
            for child in held:
                settler.put(factories.completed(child))
    assert [log["children"] for log in logs if log["event"] == "children.settled"] == [2, 2]
    assert await factories.states(connection, parent) == ["completed"] * 4
    other, (child,) = await claimed(connection, 1)
    async with settling(database, most_characters=1) as settler:
        settler.put(factories.completed(child))
    assert await factories.states(connection, other) == ["completed"]


def heard(logs) -> list[str]:
    return [log["error"] for log in logs if log["event"] == "settle.waits_for_database"]


async def test_an_outage_is_waited_out_and_nothing_is_lost(connection, database, maintenance):
    """Outcomes of captures that ended while the database was away are recorded when it is back."""
    parent, held = await claimed(connection, 6)
    await connection.close()
    with capture_logs() as logs:
        async with settling(database) as settler:
            with away(maintenance, database):
                for child in held:
                    settler.put(factories.completed(child))

                async def tried() -> bool:
                    return len(heard(logs)) > 1

                await eventually(tried)
    assert await states(database, parent) == ["completed"] * 6


async def test_a_database_that_only_reads_fails_no_capture(connection, database, maintenance):
    """A refusal that is not the outcome's fault is waited out: after a failover it is recorded."""
    parent, held = await claimed(connection, 3)
    await connection.close()
    with capture_logs() as logs:
        async with settling(database) as settler:
            with read_only(maintenance, database):
                for child in held:
                    settler.put(factories.completed(child))

                async def refused() -> bool:
                    return "ReadOnlySqlTransaction" in heard(logs)

                await eventually(refused)
    assert await states(database, parent) == ["completed"] * 3


async def test_large_captures_fill_a_worker_sooner(connection, database, maintenance):
    """What it holds while the database is away is bounded in memory, and room again afterwards."""
    parent, held = await claimed(connection, 3)
    await connection.close()
    with capture_logs():
        async with settling(database, most_held=2 * len(factories.CAPTURE)) as settler:
            with away(maintenance, database):
                settler.put(factories.completed(held[0]))
                settler.put(factories.failed(held[1]))
                assert not settler.full
                settler.put(factories.completed(held[2]))
                assert settler.full

            async def empty() -> bool:
                return not settler.full

            await eventually(empty)
    assert await states(database, parent) == ["completed", "failed", "completed"]


async def test_a_worker_that_holds_much_is_full(database):
    """It starts nothing new while so many outcomes wait."""
    async with pool_of(database) as pool:
        settler = Settler(pool, print)
        child = children.Claimed(factories.ids.new(), 1, 1, 1)
        for _ in range(MOST_HELD - 1):
            settler.put(factories.completed(child))
        assert not settler.full
        settler.put(factories.completed(child))
        assert settler.full
