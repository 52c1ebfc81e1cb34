"""The whole server behind PgBouncer, with and without a direct connection beside it."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from psycopg import AsyncConnection

from tests.e2e.calling import Caller
from tests.e2e.processes import CONFIGURATION, Server
from tests.e2e.test_kills import HELD, LIVE, Callers, survived
from tests.stateful.snapshots import equations
from tests.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.optional]

REGIONS = ["US", "GB", "DE"]
CALLERS = 32


class Pooled(Server):
    """A server whose processes reach their database through a pooler; the test goes round it."""

    def __init__(self, directory, *, pooler: str, direct: str, listens: bool) -> None:
        super().__init__(directory, database=pooler)
        self._direct = direct
        if listens:
            self.environment["PARALLAX_LISTEN_URL"] = direct

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[AsyncConnection]:
        async with await AsyncConnection.connect(self._direct, autocommit=True) as connection:
            yield connection


@pytest.fixture(scope="module", params=[True, False], ids=["listening", "polling"])
async def running(request, bouncer, empty, upstream, tmp_path_factory) -> AsyncIterator[Server]:
    """Made by the commands a user types; nothing but what listens goes round PgBouncer."""
    directory = tmp_path_factory.mktemp("pooled")
    (directory / "parallax.toml").write_text(CONFIGURATION.format(upstream=upstream.url))
    pooler = bouncer.url(empty)
    made = Pooled(directory, pooler=pooler, direct=empty, listens=request.param)
    await made.command("migrate")
    key = await made.command("keys", "create", secrets.token_hex(4), "--rate", "100000", "--json")
    made.secret = json.loads(key)["key"]
    async with made.up("--api", "2", "--workers", "2"):
        yield made


@pytest.fixture
def query(request) -> str:
    """A query of this test's own, which the upstream holds back."""
    return f"held {request.node.name}"


async def quiet(running: Server) -> None:
    """Everything has ended, no counter is off, nothing was logged as an error."""

    async def look() -> bool:
        return await running.rows(LIVE) == []

    await eventually(look, seconds=60)
    assert await running.differences() == []
    assert running.faults() == []


async def test_a_job_over_surfaces_and_regions(running, upstream, query):
    """Submitted, seen in the snapshot, watched to its end, read as Envelopes."""
    async with running.client(running.secret) as client:
        job = await client.submit(query, surfaces=["site", "quick"], regions=REGIONS)
        await upstream.asked(query, len(REGIONS))
        taken = await client.status()
        equations(taken)
        assert taken.processing_tasks >= len(REGIONS)
        await upstream.release(query)
        read = await client.wait(job.job_id)
        envelopes = [envelope async for envelope in client.results(job.job_id)]
        assert (await client.status()).inflight.total == 0
    assert (read.job.status, read.job.counts.completed) == ("completed", 2 * len(REGIONS))
    assert [envelope.job.id for envelope in envelopes] == list(job.children)
    assert upstream.of(query) == dict.fromkeys(REGIONS, 1)
    await quiet(running)


async def test_callers_who_wait_are_answered(running):
    """32 at once at two processes: 200 with what was captured, whether their end is told or not."""
    secret = await running.key(secrets.token_hex(4), sync_limit=CALLERS)
    async with AsyncExitStack() as exits:
        callers = [
            await exits.enter_async_context(Caller(running.url, secret)) for _ in range(CALLERS)
        ]
        asked = (caller.ask("tea", "quick", prefer="wait=60") for caller in callers)
        answers = await asyncio.gather(*asked)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body["job"]["id"] for answer in answers}) == CALLERS
    await quiet(running)


async def test_submissions_under_one_idempotency_key_make_one_job(running, query):
    """Ten at the same moment at two processes, and one later."""
    name = secrets.token_hex(8)
    async with AsyncExitStack() as exits:
        callers = [
            await exits.enter_async_context(Caller(running.url, running.secret)) for _ in range(10)
        ]
        answers = await asyncio.gather(*(one.ask(query, "quick", key=name) for one in callers))
        answers.append(await callers[0].ask(query, "quick", key=name))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.job for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    await quiet(running)


async def test_a_cancel_ends_what_runs(running, upstream, query):
    """The upstream would hold it for ever."""
    async with running.client(running.secret) as client:
        job = await client.submit(query, surfaces=["site"], regions=REGIONS)
        await upstream.asked(query, len(REGIONS))
        await client.cancel(job.job_id)
        read = await client.wait(job.job_id)
    assert (read.job.status, read.job.counts.canceled) == ("canceled", len(REGIONS))
    await quiet(running)


async def test_what_a_killed_worker_held_runs_again(running, upstream, query):
    """By whoever finds it dead, through the same pooler."""
    async with running.client(running.secret) as client:
        job = await client.submit(query, surfaces=["site"], regions=REGIONS)
        await upstream.asked(query, len(REGIONS))
        pid, lost = max(await running.rows(HELD), key=lambda held: len(held[1]))
        await running.kill(running.name_of(pid))
        await upstream.asked(query, len(REGIONS) + len(lost))
        await upstream.release(query)
        assert (await client.wait(job.job_id)).job.counts.completed == len(REGIONS)
    await quiet(running)


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_restart_of_the_pooler_under_load_costs_nothing(running, bouncer, upstream, how):
    """Meanwhile 503; what was answered 202 ends, once, and no process ends with it."""
    async with Callers(running, upstream, f"{how} {secrets.token_hex(4)}") as callers:

        async def refused() -> bool:
            return bool(callers.failures)

        await callers.more(20)
        await asyncio.to_thread(getattr(bouncer, how))
        await eventually(refused)
        await asyncio.to_thread(bouncer.start)
        await callers.more(20)
    assert {error.status for error in callers.failures} <= {None, 503}
    await quiet(running)
    await survived(running, callers)


async def test_the_command_line_reaches_the_database_through_it(running):
    """`migrate --plan` has nothing to do, `doctor` finds no counter off."""
    assert json.loads(await running.command("migrate", "--plan", "--json")) == {"pending": []}
    assert await running.command("doctor")
    assert await running.command("lanes", "--json")
