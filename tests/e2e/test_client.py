"""The Python client over real sockets: a night's work from preflight to results, resumed midway."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from orchestrator.client import ChildSummary, Client, ParentJob
from tests.e2e import processes
from tests.e2e.processes import Server
from tests.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

QUERIES = 300
CAPACITY = 100


@pytest.fixture(scope="module")
async def server(upstream, tmp_path_factory) -> AsyncIterator[Server]:
    """Each test has a key and queries of its own."""
    made = processes.furnished(tmp_path_factory.mktemp("client"), upstream.url)
    async with made.up("--api", "2", "--workers", "1"):
        yield made


@pytest.fixture
async def client(server, request) -> AsyncIterator[Client]:
    secret = await server.key(request.node.name, queue_capacity=CAPACITY)
    async with server.client(secret) as made:
        yield made


def night() -> list[dict]:
    return [
        {"query": f"night {n}", "surfaces": ["quick"], "regions": ["US", "GB"]}
        for n in range(QUERIES)
    ]


async def test_a_night_of_work_is_paced_and_resumed(server, client):
    """Three times what the queue holds, broken off and run again: each query once, all answered."""
    look = await client.preflight(jobs=QUERIES, surfaces=["quick"], regions=["US", "GB"])
    assert (look.admitted, look.binding) == (False, "admissionQueue")
    async with aclosing(client.submit_all(night(), key="n", group="n", batch=40)) as broken_off:
        begun = [await anext(broken_off) for _ in range(150)]
    whole = [one async for one in client.submit_all(night(), key="n", group="n", batch=50)]
    assert [one.index for one in whole] == list(range(QUERIES))
    assert {one.error for one in whole} == {None}
    assert [one.job.id for one in whole[:150]] == [one.job.id for one in begun]

    async def done() -> bool:
        return (await client.group("n")).parents.completed == QUERIES

    await eventually(done, seconds=60)
    found = [one.job.query async for one in client.group_results("n")]
    assert found == [f"night {n}" for n in range(QUERIES) for _ in range(2)]
    assert [job.id async for job in client.jobs(group="n")] == [one.job.id for one in whole][::-1]
    assert await server.differences() == []


async def test_events_are_heard_as_they_happen(client, upstream):
    """The first cell's end is told while the other still runs; the parent's ends the stream."""
    surfaces = ["site", "quick"]
    job = (await client.submit("held by the client", surfaces=surfaces, regions=["US"])).job_id
    told = []
    async with asyncio.timeout(60), aclosing(client.events(job)) as events:
        async for one in events:
            told.append(one)
            if isinstance(one, ChildSummary) and one.status == "completed":
                await upstream.release("held by the client")
    ends = [one.surface for one in told if one.status == "completed" and one != told[-1]]
    assert ends == ["quick", "site"]
    assert isinstance(told[-1], ParentJob)
    assert told[-1] == (await client.job(job)).job


async def test_a_job_is_stopped_midway(client, upstream):
    """What runs is interrupted; the stream tells the end of it."""
    job = (await client.submit("held and stopped", surfaces=["site"], regions=["US"])).job_id
    await upstream.asked("held and stopped", 1)
    live = await client.delete(job)
    assert live.job.cancel_requested_at is not None
    async with asyncio.timeout(60):
        last = [one async for one in client.events(job)][-1]
    assert last.status == "canceled"
    assert await client.delete(job) is None
