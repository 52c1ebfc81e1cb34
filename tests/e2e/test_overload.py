"""Twice as much as the workers drain, for a minute, from 64 clients who only honour Retry-After."""

import asyncio
import heapq
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import pytest

from tests.e2e import processes
from tests.e2e.calling import Caller
from tests.e2e.processes import Server

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(600)]

CLIENTS = 64
CAPACITY = 200
SECONDS = 60
LANE, LATENCY_SECONDS = 10, 0.25
OVERLOAD = 2
PER_SECOND = OVERLOAD * LANE / LATENCY_SECONDS / CLIENTS
"""Jobs offered by each client."""
CONFIGURATION = f"""
[surfaces.steady]
adapter = "simulator"
concurrency = {LANE}
[surfaces.steady.options]
latency_ms = {1000 * LATENCY_SECONDS}
"""
PARENTS = "SELECT count(*) FROM parent p JOIN api_key k ON k.id = p.key_id WHERE k.name = %(name)s"
MOST_REFUSALS = 20
"""Of one job: luck decides who finds a freed place, so the tail is long, but it ends."""


class Job(NamedTuple):
    """A job that was admitted: seconds from its first try to its place, and refusals before."""

    waited: float
    refusals: int


@pytest.fixture(scope="module")
async def server(anyio_backend, tmp_path_factory) -> AsyncIterator[Server]:
    """Two API processes and a worker; each test has a key of its own and begins with no queue."""
    made = processes.configured(tmp_path_factory.mktemp("overload"), CONFIGURATION)
    async with made.up("--api", "2", "--workers", "1"):
        yield made


async def in_turn(caller: Caller, began: float) -> list[Job]:
    """A client that has one job after the other admitted, each as soon as it is due."""
    jobs = []
    for number in range(round(PER_SECOND * SECONDS)):
        await _sleep_until(began + number / PER_SECOND)
        first, refusals = time.monotonic(), 0
        while (again := await _refused(caller)) is not None:
            refusals += 1
            await asyncio.sleep(again)
        jobs.append(Job(time.monotonic() - first, refusals))
    return jobs


async def all_at_once(caller: Caller, began: float) -> list[Job]:
    """A client that offers each job when it is due, whatever became of those before."""
    jobs = []
    due = [(began + n / PER_SECOND, n, 0) for n in range(round(PER_SECOND * SECONDS))]
    firsts = dict.fromkeys(range(len(due)), 0.0)
    while due:
        at, number, refusals = heapq.heappop(due)
        await _sleep_until(at)
        now = time.monotonic()
        firsts[number] = firsts[number] or now
        if (again := await _refused(caller)) is None:
            jobs.append(Job(now - firsts[number], refusals))
        else:
            heapq.heappush(due, (time.monotonic() + again, number, refusals + 1))
    return jobs


async def _refused(caller: Caller) -> int | None:
    """The seconds to wait after a refusal; None when it was admitted."""
    answer = await caller.ask("overload", "steady")
    assert answer.status in {202, 429}, answer
    return answer.again if answer.status == 429 else None


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


@pytest.mark.parametrize("client", [in_turn, all_at_once])
async def test_overload_is_refused_twice_a_job_at_most(
    server, client: Callable[[Caller, float], Awaitable[list[Job]]]
):
    """Every job offered is admitted in the end, for two refusals or less on average."""
    name = client.__name__
    secret = await server.key(name, queue_capacity=CAPACITY)
    began = time.monotonic()

    async def run(number: int) -> list[Job]:
        async with Caller(server.url, secret) as caller:
            return await client(caller, began + number / CLIENTS / PER_SECOND)

    done = await asyncio.gather(*map(run, range(CLIENTS)))
    jobs = [job for of_one in done for job in of_one]
    figures = {
        "jobs": len(jobs),
        "seconds": time.monotonic() - began,
        "refusals a job": sum(job.refusals for job in jobs) / len(jobs),
        "most refusals of a job": max(job.refusals for job in jobs),
        "longest wait": max(job.waited for job in jobs),
    }
    logging.getLogger(__name__).info("%s: %s", name, figures)
    assert await server.rows(PARENTS, name=name) == [(CLIENTS * round(PER_SECOND * SECONDS),)]
    assert 0 < figures["refusals a job"] <= 2, figures
    assert figures["most refusals of a job"] <= MOST_REFUSALS, figures
    assert await server.differences() == []
