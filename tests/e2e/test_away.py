"""The database is away for a while: real processes, and a server that nobody starts for them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from orchestrator import embedded
from orchestrator.domain import ids
from orchestrator.embedded import Embedded
from tests.e2e.calling import Caller
from tests.e2e.ceaseless import Ceaseless
from tests.e2e.processes import CONFIGURATION, Server
from tests.processes import gone
from tests.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

BACK_SECONDS = 15
WELL = (200, 202)
LIVE = "SELECT FROM parent WHERE state IN ('queued', 'processing')"
ENDED = "SELECT id, state FROM parent"
FLUSHED = "SELECT pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()"


@pytest.fixture
def database(tmp_path) -> Iterator[Embedded]:
    with embedded.start(tmp_path / "database") as running:
        yield running


@pytest.fixture
async def server(upstream, database, tmp_path) -> AsyncIterator[Server]:
    (tmp_path / "parallax.toml").write_text(CONFIGURATION.format(upstream=upstream.url))
    made = Server(tmp_path, database=database.url)
    async with made.up("--api", "2", "--workers", "1"):
        yield made


async def stop(database: Embedded) -> None:
    """The server ends, and nobody starts another."""
    pid = int((database.place.cluster / "postmaster.pid").read_text().partition("\n")[0])
    os.kill(pid, signal.SIGINT)
    assert await asyncio.to_thread(gone, pid)


async def more(clients: Ceaseless, *statuses: int, n: int) -> None:
    """Wait until this many more requests were answered so."""

    def seen() -> int:
        return sum(times for (_, status), times in clients.statuses.items() if status in statuses)

    wanted = seen() + n

    async def look() -> bool:
        return seen() >= wanted

    await eventually(look, seconds=60)


async def test_an_outage_costs_503s_and_nothing_else(server, database, upstream):
    """No other answer, no process ends, who waits has its 200, and all that was taken in ends."""
    query = "held over an outage"
    secret = await server.key("away", queue_capacity=100_000, sync_limit=50)
    async with Ceaseless(server, secret, each=1) as clients, Caller(server.url, secret) as caller:
        held = asyncio.create_task(caller.ask(query, "site", prefer="wait=120"))
        await upstream.asked(query, 1)
        await more(clients, *WELL, n=20)
        await eventually(lambda: flushed(server))
        await stop(database)
        await more(clients, 503, n=100)
        await asyncio.to_thread(database.ensure)
        async with asyncio.timeout(BACK_SECONDS):
            await more(clients, *WELL, n=1)
        await more(clients, *WELL, n=20)
        await upstream.release(query)
        answer = await held
    assert clients.statuses.keys() <= {
        (method, status) for method in ("POST", "GET") for status in (*WELL, 503)
    }
    assert clients.failures == []
    assert answer.status == 200
    await eventually(lambda: quiet(server), seconds=60)
    ended = {str(parent): state for parent, state in await server.rows(ENDED)}
    jobs = {str(ids.read(job).parent) for job in clients.jobs.values()}
    assert {ended[job] for job in jobs} == {"completed"}
    assert await server.differences() == []
    assert server.logged("process.died") == []
    assert server.faults() == []


async def quiet(server: Server) -> bool:
    return await server.rows(LIVE) == []


async def flushed(server: Server) -> bool:
    """Whether the claims so far are on disk: they are not flushed by themselves."""
    return await server.rows(FLUSHED) == [(True,)]
