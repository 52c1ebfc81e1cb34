"""Sync calls over real sockets and processes: whoever leaves, nothing is lost or doubled."""

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

import pytest

from tests.e2e import processes
from tests.e2e.calling import Answer, Caller
from tests.e2e.processes import Server
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

HOWS = (("/v1/search?mode=sync", None), ("/v1/search", "wait=60"))
WAITING = """
SELECT count(*)::int FROM sync_wait w JOIN api_key k ON k.id = w.key_id WHERE k.name = %(name)s
"""
MODES = """
SELECT p.mode FROM parent p JOIN api_key k ON k.id = p.key_id WHERE k.name = %(name)s
"""
ENDED = """
SELECT p.id FROM parent p JOIN api_key k ON k.id = p.key_id
WHERE k.name = %(name)s AND p.state = 'completed'
"""
HUSH = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE 'LISTEN%%'
"""


@pytest.fixture(scope="module")
async def server(upstream, tmp_path_factory) -> AsyncIterator[Server]:
    """Each test has a key and a query of its own."""
    made = processes.furnished(tmp_path_factory.mktemp("sync"), upstream.url)
    async with made.up("--workers", "1"):
        yield made


class Waiting(NamedTuple):
    """Calls that wait for one job at two processes, at each one with a preference and one without.

    `second` is the process that serves the last two.
    """

    calls: list[asyncio.Task[Answer]]
    second: Process


@asynccontextmanager
async def waiting(server: Server, name: str, query: str) -> AsyncIterator[Waiting]:
    """Callers of a new key who all wait; they have their answers when the block ends."""
    secret = await server.key(name)
    calls: list[asyncio.Task[Answer]] = []
    async with AsyncExitStack() as exits:
        url, second = await exits.enter_async_context(server.another())
        for where in (server.url, url):
            for how in HOWS:
                caller = await exits.enter_async_context(Caller(where, secret))
                calls.append(asyncio.create_task(ask(caller, query, *how)))
                await eventually(lambda: waits(server, name, len(calls)))
        yield Waiting(calls, second)
        await asyncio.gather(*calls)


async def ask(caller: Caller, query: str, path: str, prefer: str | None) -> Answer:
    return await caller.ask(query, "site", path=path, key="the one", prefer=prefer)


async def waits(server: Server, name: str, callers: int) -> bool:
    return await server.rows(WAITING, name=name) == [(callers,)]


async def none_waits(server: Server, name: str) -> bool:
    return await waits(server, name, 0)


async def test_callers_at_two_processes_wait_for_one_job(server, upstream):
    """Replays that wait elsewhere are woken with the first; the surface was asked once."""
    query = "held at both"
    async with waiting(server, "both", query) as (calls, _):
        await upstream.asked(query, 1)
        await upstream.release(query)
        answers = await asyncio.gather(*calls)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.job for answer in answers}) == 1
    assert [answer.replayed for answer in answers].count(False) == 1
    assert upstream.of(query) == {"US": 1}
    assert await server.rows(MODES, name="both") == [("sync",)]
    await eventually(lambda: none_waits(server, "both"))


async def test_a_process_that_is_told_to_stop_answers_those_who_wait(server, upstream):
    """202 whatever they asked for; those at the other process wait on, for the same job."""
    query = "held while one stops"
    async with waiting(server, "stopping", query) as (calls, second):
        await upstream.asked(query, 1)
        second.terminate()
        told = await asyncio.gather(*calls[2:])
        assert await second.wait() == 0
        await upstream.release(query)
        found = await asyncio.gather(*calls[:2])
    assert [answer.status for answer in told] == [202, 202]
    assert [answer.body["job"]["status"] for answer in told] == ["processing"] * 2
    assert all(1 <= answer.again <= 60 for answer in told)
    assert [answer.status for answer in found] == [200, 200]
    assert len({answer.job for answer in (*told, *found)}) == 1
    assert upstream.of(query) == {"US": 1}
    assert server.faults() == []


async def test_a_caller_who_hangs_up_leaves_its_job_behind(server, upstream):
    """Detached: the place is free at once, the job ends once, its answer is there to be read."""
    query = "held for nobody"
    secret = await server.key("gone", sync_limit=1)
    async with Caller(server.url, secret) as caller:
        call = asyncio.create_task(caller.ask(query, "site", prefer="wait=60"))
        await upstream.asked(query, 1)
        call.cancel()
        await eventually(lambda: none_waits(server, "gone"))
    assert await server.rows(MODES, name="gone") == [("detached",)]
    async with Caller(server.url, secret) as caller:
        assert (await caller.ask("at once", "quick", prefer="wait=60")).status == 200
    await upstream.release(query)
    await eventually(lambda: both_ended(server))
    assert upstream.of(query) == {"US": 1}
    assert await server.differences() == []


async def both_ended(server: Server) -> bool:
    return len(await server.rows(ENDED, name="gone")) == 2


async def test_the_end_of_a_preferred_wait(server, upstream):
    """202 with the job so far after a second of real time; a replay waits on and has the answer."""
    query = "held too long"
    async with Caller(server.url, await server.key("late")) as caller:
        first = await caller.ask(query, "site", key="late", prefer="wait=1")
        assert (first.status, first.body["job"]["status"]) == (202, "processing")
        assert 1 <= first.again <= 60
        again = asyncio.create_task(caller.ask(query, "site", key="late", prefer="wait=60"))
        await eventually(lambda: waits(server, "late", 1))
        await upstream.release(query)
        answer = await again
    assert (answer.status, answer.replayed, answer.job) == (200, True, first.job)
    assert upstream.of(query) == {"US": 1}


async def test_a_lost_listener_loses_no_answer(server, upstream):
    """The connections that listen are killed while callers wait: they are answered all the same."""
    query = "held in silence"
    async with waiting(server, "silence", query) as (calls, _):
        await upstream.asked(query, 1)
        killed = await server.rows(HUSH)
        assert len(killed) >= 2
        await upstream.release(query)
        answers = await asyncio.gather(*calls)
    assert {answer.status for answer in answers} == {200}
    assert server.faults() == []
