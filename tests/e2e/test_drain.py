"""Workers that are told to end, or were thought dead: nothing is lost, nothing doubled."""

import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from orchestrator.client import Client
from orchestrator.domain.documents import Envelope
from tests.e2e import processes, witness
from tests.e2e.processes import Server
from tests.e2e.witness import Hold, Witness
from tests.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

CONFIGURATION = """
[surfaces.site]
adapter = "http"
timeout = "5m"
[surfaces.site.options]
url = "{upstream}/site?q={{query}}&cc={{country}}"
text = "answer"
headers = {{ "X-Worker" = "${{WORKER}}" }}
"""
LONG, SHORT = "600", "0.2"
NODES = "SELECT id FROM node WHERE kind = 'worker' AND pid = %(pid)s"
OUTCOMES = "SELECT finished_at, result::text, array_to_json(log)::text FROM child"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Witness]:
    with witness.witnessing() as made:
        yield made


@pytest.fixture(scope="module")
async def server(anyio_backend, upstream, tmp_path_factory) -> AsyncIterator[Server]:
    """An API process; each test has workers, a country and a key of its own."""
    directory = tmp_path_factory.mktemp("drain")
    made = processes.configured(directory, CONFIGURATION.format(upstream=upstream.url))
    made.environment["WORKER"] = "nobody"
    async with made.up("--workers", "0"):
        yield made


@pytest.fixture
async def client(server, request) -> AsyncIterator[Client]:
    async with server.client(await server.key(request.node.name)) as made:
        yield made


@pytest.fixture
def working(server):
    """A worker with a name and a time to drain, until the end of the block; it serves already."""

    def make(
        name: str, drain: str = LONG, *, impatient: bool = False
    ) -> AbstractAsyncContextManager[Process]:
        @asynccontextmanager
        async def worker() -> AsyncIterator[Process]:
            named = {"WORKER": name, "PARALLAX_DRAIN_SECONDS": drain}
            running = server.beside("work", "--slots", "4", impatient=impatient, **named)
            async with running as process:
                await server.event("node.started", of=process.pid)
                yield process

        return worker()

    return make


async def held(client: Client, upstream: Witness, country: str) -> tuple[str, Hold]:
    """A job whose one call the upstream keeps waiting, and what lets it go."""
    hold = Hold()
    upstream.behave("site", country, hold)
    job = await client.submit("held", surfaces=["site"], regions=[country])
    await upstream.until(lambda: upstream.open("site", country))
    return job.job_id, hold


async def only(client: Client, job: str) -> Envelope:
    """The Envelope of the one cell of a job that has ended."""
    await client.wait(job)
    (envelope,) = [envelope async for envelope in client.results(job)]
    return envelope


def log(envelope: Envelope) -> list[tuple[int, str]]:
    return [(entry.number, entry.status) for entry in envelope.job.attempt_log]


async def test_a_worker_that_is_told_to_end_finishes_what_it_runs(
    server, client, upstream, working
):
    """It starts nothing new, and is gone as soon as it is done; another takes what waits."""
    async with working("leaves") as worker:
        job, hold = await held(client, upstream, "US")
        worker.terminate()
        await server.event("node.draining", of=worker.pid)
        later = await client.submit("later", surfaces=["site"], regions=["US"])
        upstream.let_go(hold)
        assert log(await only(client, job)) == [(1, "completed")]
        assert await worker.wait() == 0
    assert await server.rows(NODES, pid=worker.pid) == []
    assert (await client.job(later.job_id)).job.counts.completed == 0
    async with working("comes"):
        assert log(await only(client, later.job_id)) == [(1, "completed")]
    assert [call.worker for call in upstream.of("site", "US")] == ["leaves", "comes"]


async def test_what_a_leaving_worker_cannot_finish_is_given_back(client, upstream, working):
    """At once, and the attempt is not counted."""
    async with working("leaves", SHORT) as worker:
        job, hold = await held(client, upstream, "GB")
        worker.terminate()
        assert await worker.wait() == 0
    await upstream.until(lambda: not upstream.open("site", "GB"))
    (cell,) = (await client.job(job)).children
    assert (str(cell.status), cell.attempts) == ("queued", 0)
    upstream.let_go(hold)
    async with working("comes"):
        assert log(await only(client, job)) == [(1, "completed")]
    assert [call.worker for call in upstream.of("site", "GB")] == ["leaves", "comes"]


async def test_a_second_signal_ends_a_worker_at_once_and_loses_nothing(
    server, client, upstream, working
):
    """What it held is captured by another once it counts as dead."""
    async with working("leaves", impatient=True) as worker:
        job, hold = await held(client, upstream, "DE")
        worker.terminate()
        await server.event("node.draining", of=worker.pid)
        worker.terminate()
        assert await worker.wait() == 1
    upstream.let_go(hold)
    async with working("comes"):
        assert log(await only(client, job)) == [(1, "lost"), (1, "completed")]
    assert [call.worker for call in upstream.of("site", "DE")] == ["leaves", "comes"]


async def test_a_cancel_reaches_what_a_leaving_worker_runs(server, client, upstream, working):
    """A drain of ten minutes is no reason to wait so long for the end of a canceled job."""
    async with working("leaves") as worker:
        job, _ = await held(client, upstream, "FR")
        worker.terminate()
        await server.event("node.draining", of=worker.pid)
        await client.cancel(job)
        assert str((await only(client, job)).job.status) == "canceled"
        assert await worker.wait() == 0
    assert len(upstream.of("site", "FR")) == 1


async def test_a_worker_that_was_thought_dead_changes_nothing_and_goes_on(
    server, client, upstream, working
):
    """Stopped past its death it comes back late: another's outcome stands, and it has its place."""
    async with working("sleeps") as sleeper:
        job, hold = await held(client, upstream, "IT")
        nodes = await server.rows(NODES, pid=sleeper.pid)
        os.kill(sleeper.pid, signal.SIGSTOP)
        async with working("comes"):
            await upstream.until(lambda: len(upstream.of("site", "IT")) == 2)
            upstream.let_go(hold)
            envelope = await only(client, job)
        ended = await server.rows(OUTCOMES)
        assert log(envelope) == [(1, "lost"), (1, "completed")]
        os.kill(sleeper.pid, signal.SIGCONT)
        later = await client.submit("later", surfaces=["site"], regions=["IT"])
        assert log(await only(client, later.job_id)) == [(1, "completed")]
        both = await server.rows(OUTCOMES)
        assert [row for row in both if row in ended] == ended

        async def back() -> bool:
            return await server.rows(NODES, pid=sleeper.pid) == nodes

        await eventually(back)
    calls = [call.worker for call in upstream.of("site", "IT")]
    assert calls == ["sleeps", "comes", "sleeps"]
    assert await server.differences() == []
