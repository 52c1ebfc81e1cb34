"""Every process is renewed under load, one by one, and no client notices."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from orchestrator.domain import ids
from tests.e2e import processes
from tests.e2e.ceaseless import Ceaseless
from tests.e2e.processes import Server
from tests.e2e.upstream import Upstream
from tests.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]  # a start takes long where all is busy

DRAIN_SECONDS = 3
PROCESSES = ("worker-1", "worker-2", "api-1", "api-2")
LIVE = "SELECT FROM parent WHERE state IN ('queued', 'processing')"
ENDED = """
SELECT p.id, p.state, c.state, c.attempt FROM parent p JOIN child c ON c.parent_id = p.id
"""


@pytest.fixture
async def server(upstream, tmp_path) -> AsyncIterator[Server]:
    made = processes.furnished(tmp_path, upstream.url)
    made.environment["PARALLAX_DRAIN_SECONDS"] = str(DRAIN_SECONDS)
    async with made.up("--api", "2", "--workers", "2"):
        yield made


async def heard(server: Server, secret: str, query: str) -> list[str]:
    """The statuses that a stream, taken up again wherever it ends, tells of a job to its end."""
    async with server.client(secret) as client:
        job = await client.submit(query, surfaces=["site"])
        return [told.status async for told in client.events(job.job_id)]


async def renew(server: Server) -> None:
    """Renew everything, and wait until that is done, for each process in its turn."""
    ready, after = await server.event("up.ready"), len(server._logged)
    os.kill(ready["pid"], signal.SIGUSR2)
    for name in PROCESSES:
        await server.event("process.started", after=after, process=name)
    await server.event("up.renewed")


async def test_a_rolling_restart_is_seen_by_nobody(server, upstream):
    """No error for any client, and every job ends, completed, each asked of its surface once."""
    secret = await server.key("rolling", queue_capacity=100_000, sync_limit=50)
    before = {name: server.pid(name) for name in PROCESSES}
    query = "held for a stream"
    async with Ceaseless(server, secret, each=2) as clients:
        hearing = asyncio.create_task(heard(server, secret, query))
        await upstream.asked(query, 1)
        await renew(server)
        await upstream.release(query)
    assert all(server.pid(name) != before[name] for name in PROCESSES)
    assert clients.failures == []
    assert clients.statuses.keys() <= {("POST", 200), ("POST", 202), ("GET", 200)}
    assert (await hearing)[-1] == "completed"
    await all_ended(server, upstream, clients)


async def all_ended(server: Server, upstream: Upstream, clients: Ceaseless) -> None:
    """Each acknowledged job is there and has ended; what was given back counts no attempt."""

    async def quiet() -> bool:
        return await server.rows(LIVE) == []

    await eventually(quiet, seconds=60)
    rows = await server.rows(ENDED)
    assert {row[1:] for row in rows} == {("completed", "completed", 1)}
    stored = {str(row[0]) for row in rows}
    assert {str(ids.read(job).parent) for job in clients.jobs.values()} <= stored
    asked = {query: upstream.of(query) for query in clients.jobs}
    assert asked == {query: {"US": 1} for query in clients.jobs}
    assert await server.differences() == []
    assert server.faults() == []
