"""Whoever is killed: what was answered 202 survives, and ends, once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Self

import aiohttp
import pytest
from psycopg import OperationalError

from orchestrator.client import ApiError
from orchestrator.domain import ids
from tests.e2e import processes
from tests.e2e.calling import Answer, Caller
from tests.e2e.processes import Server
from tests.e2e.upstream import Upstream
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

AGAIN_SECONDS = 15
CLIENTS = 8
HELD = """
SELECT n.pid, array_agg(c.ordinal ORDER BY c.ordinal)
FROM child c JOIN node n ON n.id = c.node WHERE c.state = 'processing' GROUP BY 1
"""
CALLERS = """
SELECT n.id, n.pid, count(*)
FROM sync_wait w JOIN node n ON n.id = w.node JOIN api_key k ON k.id = w.key_id
WHERE k.name = %(name)s
GROUP BY 1, 2
"""
NOW = "SELECT clock_timestamp()"
LIVE = "SELECT FROM parent WHERE state IN ('queued', 'processing')"
ENDED = """
SELECT id, state, done = total, finished_at IS NOT NULL,
       (SELECT count(*) FROM child WHERE parent_id = id AND state = 'completed') = total
FROM parent
"""
FLUSHED = """
SELECT pg_current_wal_flush_lsn() >= %(lsn)s::pg_lsn
"""


@pytest.fixture(scope="module")
async def server(upstream, tmp_path_factory) -> AsyncIterator[Server]:
    """Two API processes and two workers; each test has its own key."""
    made = processes.furnished(tmp_path_factory.mktemp("kills"), upstream.url)
    async with made.up("--api", "2", "--workers", "2"):
        yield made


class Callers:
    """Clients that submit one cell each, again and again, and remember what was answered 202."""

    def __init__(self, server: Server, upstream: Upstream, name: str) -> None:
        self._server, self._upstream, self._name = server, upstream, name
        self.accepted: dict[str, str] = {}
        self.failures: list[ApiError] = []
        self._stopping = False

    async def __aenter__(self) -> Self:
        secret = await self._server.key(self._name)
        self._tasks = [asyncio.create_task(self._call(n, secret)) for n in range(CLIENTS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def more(self, n: int) -> None:
        """Wait until this many more were accepted."""
        wanted = len(self.accepted) + n

        async def look() -> bool:
            return len(self.accepted) >= wanted

        await eventually(look, seconds=60)

    async def _call(self, caller: int, secret: str) -> None:
        turn = 0
        async with self._server.client(secret) as client:
            while not self._stopping:
                turn += 1
                query = f"{self._name} {caller} {turn}"
                try:
                    accepted = await client.submit(query, surfaces=["site"], regions=["US"])
                except ApiError as error:
                    self.failures.append(error)
                    await asyncio.sleep(0.02)
                else:
                    self.accepted[accepted.job_id] = query


async def all_ended(server: Server) -> None:
    """Everything there is ends, completed, each cell with one outcome; no counter is off.

    Nor did any process log an error: a death is nothing out of the ordinary.
    """

    async def quiet() -> bool:
        return await server.rows(LIVE) == []

    await eventually(quiet, seconds=60)
    for parent in await server.rows(ENDED):
        assert parent[1:] == ("completed", True, True, True)
    assert await server.differences() == []
    assert server.faults() == []


async def survived(server: Server, callers: Callers) -> None:
    """Each acknowledged submission can be read, ended."""
    ended = {str(row[0]) for row in await server.rows(ENDED)}
    stored = {str(ids.read(job).parent) for job in callers.accepted}
    assert stored <= ended


async def test_a_worker_killed_in_mid_capture(server, upstream):
    """What it was at runs again within 15 s, and everything ends, once."""
    query, countries = "held by a worker", ["US", "GB", "DE", "FR"]
    async with server.client(await server.key("worker")) as client:
        job = await client.submit(query, surfaces=["site"], regions=countries)
        await upstream.asked(query, len(countries))
        pid, lost = max(await server.rows(HELD), key=lambda held: len(held[1]))
        ((killed_at,),) = await server.rows(NOW)
        await server.kill(server.name_of(pid))
        await upstream.asked(query, len(countries) + len(lost))
        ((again_at,),) = await server.rows(NOW)
        assert (again_at - killed_at).total_seconds() < AGAIN_SECONDS
        await upstream.release(query)
        read = await client.wait(job.job_id)
        envelopes = [envelope async for envelope in client.results(job.job_id)]
    assert read.job.counts.completed == len(countries)
    calls = {country: 1 + (n in lost) for n, country in enumerate(countries, 1)}
    assert upstream.of(query) == calls
    logs = [[entry.status for entry in envelope.job.attempt_log] for envelope in envelopes]
    assert logs == [["lost"] * (n - 1) + ["completed"] for n in calls.values()]
    await all_ended(server)


async def test_api_processes_killed_in_mid_submission(server, upstream):
    """Each submission answered 202 is there and is captured, once."""
    async with Callers(server, upstream, "api") as callers:
        await callers.more(20)
        for name in ("api-1", "api-2"):
            await server.kill(name)
            await callers.more(20)
    assert {error.status for error in callers.failures} <= {None, 503}
    await all_ended(server)
    await survived(server, callers)
    assert {query: upstream.of(query) for query in callers.accepted.values()} == {
        query: {"US": 1} for query in callers.accepted.values()
    }


async def test_an_api_process_killed_with_callers_who_wait(server, upstream):
    """Their places are back within 15 s; who asks again with its idempotency key has the same job.

    Who waits at the other process does not notice.
    """
    query = "held with callers"
    secret = await server.key("callers", sync_limit=CLIENTS)
    calls = [asyncio.create_task(sync_call(server, secret, query, n)) for n in range(CLIENTS)]
    await upstream.asked(query, CLIENTS)
    node, pid, lost = max(await server.rows(CALLERS, name="callers"), key=lambda held: held[2])
    ((killed_at,),) = await server.rows(NOW)
    await server.kill(server.name_of(pid))

    async def back() -> bool:
        return node not in {held[0] for held in await server.rows(CALLERS, name="callers")}

    await eventually(back, seconds=60)
    ((back_at,),) = await server.rows(NOW)
    assert (back_at - killed_at).total_seconds() < AGAIN_SECONDS
    again = [n for n, call in enumerate(calls) if call.done()]
    assert len(again) == lost
    for n in again:
        assert isinstance(calls[n].exception(), aiohttp.ClientError)
        calls[n] = asyncio.create_task(sync_call(server, secret, query, n))
    await eventually(lambda: all_wait(server))
    await upstream.release(query)
    answers = await asyncio.gather(*calls)
    assert {answer.status for answer in answers} == {200}
    assert {n for n, answer in enumerate(answers) if answer.replayed} >= set(again)
    assert len({answer.job for answer in answers}) == CLIENTS
    assert upstream.of(query) == {"US": CLIENTS}
    await all_ended(server)


async def sync_call(server: Server, secret: str, query: str, number: int) -> Answer:
    """A call that waits, with a connection and an idempotency key of its own.

    While the database is said to be away, as to a process whose connections ended with the last
    one, it calls again.
    """

    async def call() -> Answer | None:
        answer = await caller.ask(query, "site", key=f"{query} {number}", prefer="wait=120")
        return None if answer.status == 503 else answer

    async with Caller(server.url, secret) as caller:
        return await eventually(call, seconds=120)


async def all_wait(server: Server) -> bool:
    return sum(held[2] for held in await server.rows(CALLERS, name="callers")) == CLIENTS


async def test_postgres_killed_in_mid_everything(server, upstream):
    """It comes back with its data, all recover by themselves; what was answered 202 ends, once."""
    query = "held by postgres"
    async with server.client(await server.key("held")) as client:
        job = await client.submit(query, surfaces=["site"], regions=["US", "GB"])
        await upstream.asked(query, 2)
        await flushed(server)
        async with Callers(server, upstream, "postgres") as callers:
            await callers.more(20)
            server.kill_postgres()
            await eventually(lambda: answers(server), seconds=60)
            await callers.more(20)
        await upstream.release(query)
        read = await client.wait(job.job_id)
    assert read.job.counts.completed == 2
    assert {error.status for error in callers.failures} <= {None, 503}
    await all_ended(server)
    await survived(server, callers)
    assert upstream.of(query) == {"US": 1, "GB": 1}
    assert all(upstream.of(query) for query in callers.accepted.values())


async def flushed(server: Server) -> None:
    """Wait until the claims so far are on disk: they are not flushed by themselves."""
    ((lsn,),) = await server.rows("SELECT pg_current_wal_insert_lsn()::text")

    async def look() -> bool:
        return await server.rows(FLUSHED, lsn=lsn) == [(True,)]

    await eventually(look)


async def answers(server: Server) -> bool:
    try:
        return bool(await server.rows(NOW))
    except OperationalError:
        return False
