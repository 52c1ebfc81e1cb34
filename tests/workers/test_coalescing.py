"""Identical cells share one upstream call, among those that let them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import msgspec
import psycopg
import pytest
from structlog.testing import capture_logs

from orchestrator import configuration
from orchestrator.domain.envelope import Cost, TokenUsage
from orchestrator.errors import ConfigError
from orchestrator.store.nodes import DEAD_AFTER_SECONDS
from orchestrator.surfaces import RegionConfig
from tests import factories
from tests.waiting import PATIENCE_SECONDS, eventually
from tests.workers.database import away, pool_of
from tests.workers.running import CAPTURE, CONFIG, Worker, counted, waiting, working
from workers.adapters import base, discovery
from workers.adapters.base import Captured
from workers.coalescing import Coalescer
from workers.errors import SurfaceError

pytestmark = pytest.mark.anyio

SHARING = msgspec.structs.replace(CONFIG, coalesce_seconds=600)
SPENT = msgspec.structs.replace(
    CAPTURE,
    provenance=msgspec.structs.replace(
        CAPTURE.provenance,
        usage=TokenUsage(
            input_tokens=12, output_tokens=3, estimated_cost=Cost(amount=0.5, currency="USD")
        ),
    ),
)


@pytest.fixture
def start(connection, database):
    """Opens a worker whose surface shares calls."""
    return partial(working, connection, database, slots=50, config=SHARING)


@pytest.fixture
def logs():
    """What is logged during the test."""
    with capture_logs() as logged:
        yield logged


async def provenances(connection) -> list[dict]:
    """Of every capture that is stored, the called one first."""
    cursor = await connection.execute("SELECT result -> 'provenance' FROM child")
    found = [provenance for (provenance,) in await cursor.fetchall()]
    return sorted(found, key=lambda provenance: provenance["coalesced"])


async def failures(connection) -> int:
    return await factories.scalar(connection, "SELECT failures FROM lane")


async def calls(connection) -> list[tuple]:
    """Shared calls: whether each has a capture, whether a failure, and whether it counts."""
    cursor = await connection.execute(
        "SELECT capture IS NOT NULL, failure IS NOT NULL, until > now() FROM shared_call"
    )
    return await cursor.fetchall()


async def test_identical_cells_share_one_call(connection, start):
    """One is asked for; each has its own record, which says whose call it was, and its charge."""
    await waiting(connection, n=9, costs={factories.SURFACE: 2})
    async with start() as worker:
        worker.surface.found = SPENT
        await worker.runner.step()
        assert worker.runner.running == 9
        await eventually(lambda: _asked(worker, 1))
    assert len(worker.surface.asked) == 1
    assert await counted(connection) == {"completed": 9}
    called, *shared = await provenances(connection)
    assert (called["coalesced"], called["usage"]["inputTokens"]) == (False, 12)
    assert [one["coalesced"] for one in shared] == [True] * 8
    for one in shared:
        assert one["usage"] == {
            "inputTokens": 0,
            "outputTokens": 0,
            "estimatedCost": {"amount": 0.0, "currency": "USD"},
        }
        assert one["capturedAt"] == called["capturedAt"]
    assert await factories.scalar(connection, "SELECT sum(charged) FROM parent") == 18


async def test_processes_share_one_call(connection, start):
    """What one of them asks for the others wait for."""
    await waiting(connection, n=6)
    async with start(slots=3) as one, start(slots=3) as other:
        await one.runner.step()
        await other.runner.step()
        assert (one.runner.running, other.runner.running) == (3, 3)
        await eventually(lambda: _asked(one, 1, other))
        one.surface.released.set()
        other.surface.released.set()
        await one.idle()
        await other.idle()
    assert len(one.surface.asked) + len(other.surface.asked) == 1
    assert await counted(connection) == {"completed": 6}
    assert sum(one["coalesced"] for one in await provenances(connection)) == 5


async def test_a_capture_is_good_for_a_while(connection, start):
    """Who comes later makes no call; who comes after its time makes one."""
    async with start() as worker:
        worker.surface.released.set()
        for asked in (1, 1, 2):
            if asked == 2:
                await connection.execute("UPDATE shared_call SET until = now()")
            await waiting(connection)
            await worker.runner.step()
            await worker.idle()
            await eventually(lambda: _told(connection))
            assert len(worker.surface.asked) == asked


async def test_a_key_that_opts_out_neither_takes_nor_gives(connection, start):
    """Its cells make calls of their own, whatever others found."""
    async with start() as worker:
        worker.surface.released.set()
        for shares, asked in ((False, 1), (False, 2), (True, 3), (False, 4), (True, 4)):
            await waiting(connection, coalesce=shares)
            await worker.runner.step()
            await worker.idle()
            await eventually(lambda: _told(connection))
            assert len(worker.surface.asked) == asked
    assert [one["coalesced"] for one in await provenances(connection)] == [False] * 4 + [True]


async def test_another_question_is_another_call(database, connection):
    """Query, options, country, city and language make the call; child and attempt do not."""
    asked = [
        {},
        {"query": "green tea"},
        {"options": {"a": 1, "b": 2}},
        {"options": {"a": 2, "b": 2}},
        {"country": "GB"},
        {"city": "Paris"},
        {"language": "en"},
        {"child": "job_2.s.us", "attempt": 2},
        {"options": {"b": 2, "a": 1}},
    ]
    async with _coalescer(database, await factories.node(connection)) as coalescer:
        made = [await coalescer.capture(SHARING, _request(**one), _call) for one in asked]
    assert [one.capture.provenance.coalesced for one in made] == [False] * 7 + [True] * 2


async def test_another_configuration_is_another_call(database, connection):
    """Other options, another proxy of the region, other names to look for: nothing is shared."""
    node = await factories.node(connection)
    configs = [
        SHARING,
        msgspec.structs.replace(SHARING, options={"model": "b"}),
        msgspec.structs.replace(SHARING, mentions=("Acme",)),
        msgspec.structs.replace(SHARING, raw=True),
        msgspec.structs.replace(SHARING, regions={"US": RegionConfig(proxy="http://127.0.0.1:1")}),
        msgspec.structs.replace(SHARING, regions={"GB": RegionConfig(proxy="http://127.0.0.1:1")}),
    ]
    made = []
    for config in configs:
        async with _coalescer(database, node) as coalescer:
            made.append((await coalescer.capture(config, _request(), _call)).capture)
    assert [one.provenance.coalesced for one in made] == [False] * 5 + [True]


async def test_a_leader_that_is_interrupted_leaves_the_call_to_the_next(connection, start):
    """The others are asked for by one of them; who was interrupted is queued again."""
    await waiting(connection, n=4)
    async with start() as worker:
        await worker.runner.step()
        await eventually(lambda: _asked(worker, 1))
        leader = worker.runner.named(worker.surface.asked[0].child)
        assert worker.runner.interrupt([leader]) == 1
        await eventually(lambda: _asked(worker, 2))
        worker.surface.released.set()
        await worker.idle()
        assert len(worker.surface.asked) == 2
        assert worker.surface.asked[0].child != worker.surface.asked[1].child
    assert await counted(connection) == {"queued": 1, "completed": 3}


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_failure_is_everybodys_and_counts_once(connection, start, logs, processes):
    """Each cell has failed an attempt; the lane has seen one call that failed."""
    await waiting(connection, n=6)
    async with start(slots=6 // processes) as one, start(slots=3) as other:
        for worker in (one, other)[:processes]:
            worker.surface.error = SurfaceError("UPSTREAM_STATUS", "500", permanent=False)
            await worker.runner.step()
        await eventually(lambda: _asked(one, 1, other))
        await eventually(lambda: _followed(logs, processes - 1))
        one.surface.released.set()
        other.surface.released.set()
        await one.idle()
        await other.idle()
    assert len(one.surface.asked) + len(other.surface.asked) == 1
    assert await counted(connection) == {"retrying": 6}
    assert await failures(connection) == 1


async def test_who_did_not_wait_hears_of_no_failure(database, connection):
    """The next who asks makes a call: a failure is not kept for those who come later."""
    node = await factories.node(connection)
    async with _coalescer(database, node) as coalescer:
        with pytest.raises(SurfaceError) as caught:
            await coalescer.capture(SHARING, _request(), _failing)
        assert not caught.value.shared
        await eventually(lambda: _told(connection))
        assert await calls(connection) == [(False, True, True)]
        captured = await coalescer.capture(SHARING, _request(), _call)
        assert captured.capture.provenance.coalesced is False


async def test_a_process_that_died_leads_nothing(database, connection):
    """Its call is made by the next who asks, before its time is over."""
    dead = await factories.node(connection)
    patient = msgspec.structs.replace(SHARING, timeout_seconds=3600)
    async with _coalescer(database, dead) as coalescer:
        stuck = asyncio.create_task(coalescer.capture(patient, _request(), asyncio.Event().wait))
        await eventually(lambda: _begun(connection))
        await connection.execute(
            "UPDATE node SET heartbeat_at = now() - %s * interval '1 second'", [DEAD_AFTER_SECONDS]
        )
        async with _coalescer(database, await factories.node(connection)) as other:
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await other.capture(patient, _request(), _call)
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
    assert await calls(connection) == [(True, False, True)], "what the dead tell is not heard"


async def test_who_is_interrupted_while_asking_leads_nothing(database, connection):
    """A call that became ours too late is free again at once."""
    async with (
        _coalescer(database, await factories.node(connection)) as coalescer,
        await psycopg.AsyncConnection.connect(database) as holder,
    ):
        await holder.execute("LOCK TABLE shared_call")
        asking = asyncio.create_task(coalescer.capture(SHARING, _request(), _call))
        await eventually(lambda: _waits(connection))
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await holder.rollback()
        await eventually(lambda: _free(connection))


async def test_without_the_database_each_process_calls_for_itself(
    database, connection, maintenance
):
    """Captures do not wait for it; within the process they are shared all the same."""
    node = await factories.node(connection)
    async with _coalescer(database, node) as coalescer:
        with away(maintenance, database):
            runs = [coalescer.capture(SHARING, _request(), _call) for _ in range(3)]
            captured = await asyncio.gather(*runs)
    assert [one.capture.provenance.coalesced for one in captured] == [False, True, True]


def test_calls_that_do_something_are_not_shared(tmp_path):
    """A webhook's configuration with it is refused by its line."""
    path = tmp_path / "p.toml"
    path.write_text('[surfaces.hook]\nadapter = "webhook"\ncoalesce = "10m"\n')
    with pytest.raises(ConfigError, match=r"p\.toml:3: surfaces\.hook\.coalesce: .*leave it out"):
        discovery.build(configuration.load(path), "hook")
    path.write_text('[surfaces.hook]\nadapter = "simulator"\ncoalesce = "10m"\n')
    assert configuration.load(path).surfaces["hook"].coalesce_seconds == 600


def _request(**changes):
    fields = {"child": "job_1.s.us", "query": "tea", "surface": "chatgpt", "country": "US"}
    return base.CaptureRequest(**fields | changes)


async def _call() -> Captured:
    return Captured(CAPTURE, msgspec.json.encode(CAPTURE))


async def _failing() -> Captured:
    raise SurfaceError("UPSTREAM_STATUS", "500", permanent=False, response_code=500)


@asynccontextmanager
async def _coalescer(database: str, node: int) -> AsyncIterator[Coalescer]:
    """One that runs, as of a process of its own."""
    async with pool_of(database) as pool, asyncio.TaskGroup() as tasks:
        coalescer = Coalescer(pool, node=node)
        tasks.create_task(coalescer.run())
        yield coalescer
        coalescer.close()


async def _asked(worker: Worker, calls: int, *others: Worker) -> bool:
    return sum(len(one.surface.asked) for one in (worker, *others)) == calls


async def _followed(logs, times: int) -> bool:
    return sum(log["event"] == "call.followed" for log in logs) == times


async def _told(connection) -> bool:
    """Whether every call is over, and told."""
    running = "SELECT count(*) FROM shared_call WHERE capture IS NULL AND failure IS NULL"
    return await factories.scalar(connection, running) == 0


async def _begun(connection) -> bool:
    return await calls(connection) == [(False, False, True)]


async def _free(connection) -> bool:
    return await calls(connection) == [(False, False, False)]


async def _waits(connection) -> bool:
    waiting = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'shared_call'::regclass"
    )
    return await factories.scalar(connection, waiting) == 1
