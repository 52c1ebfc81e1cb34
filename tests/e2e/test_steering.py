"""Steering a running server: what runs is interrupted, groups are carried out, deadlines met."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.e2e import processes
from tests.e2e.processes import Server
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def server(upstream, tmp_path_factory) -> AsyncIterator[Server]:
    """Each test has a key and queries of its own."""
    made = processes.furnished(tmp_path_factory.mktemp("steering"), upstream.url)
    async with made.up("--workers", "2"):
        yield made


@pytest.fixture
async def http(server, request) -> AsyncIterator[aiohttp.ClientSession]:
    secret = await server.key(request.node.name)
    headers = {"Authorization": f"Bearer {secret}"}
    async with aiohttp.ClientSession(server.url, headers=headers) as session:
        yield session


async def said(call: Any) -> Any:
    async with call as reply:
        assert reply.status < 400, await reply.text()
        return await reply.json()


async def submit(http, query, **fields) -> str:
    body = {"query": query, "surfaces": ["site"], "regions": ["US", "GB"]} | fields
    return str((await said(http.post("/v1/search", json=body)))["jobId"])


async def read(http, job) -> Any:
    return await said(http.get(f"/v1/jobs/{job}"))


async def statuses(http, job) -> list[str]:
    return [child["status"] for child in (await read(http, job))["children"]]


async def ended(http, job) -> Any:
    async def look() -> Any:
        found = await read(http, job)
        return found if found["job"]["completedAt"] else None

    return await eventually(look)


async def test_a_call_under_way_is_interrupted_by_a_cancel(server, http, upstream):
    """The upstream holds it for ever; the cancel ends it, and nothing of it starts again."""
    job = await submit(http, "held cancel")
    await upstream.asked("held cancel", 2)
    asked = await read(http, job)
    assert asked["job"]["counts"]["processing"] == 2
    canceled = await said(http.post(f"/v1/jobs/{job}/cancel"))
    assert canceled["job"]["cancelRequestedAt"]
    assert (await ended(http, job))["job"]["status"] == "canceled"
    status = await said(http.get("/v1/async/status"))
    assert status["inflight"]["total"] == 0
    assert upstream.of("held cancel") == {"US": 1, "GB": 1}
    assert await server.differences() == []


async def test_a_call_under_way_is_interrupted_by_its_deadline(server, http, upstream):
    """Every cell ends expired, and says that the deadline did it."""
    job = await submit(http, "held deadline", deadline=2)
    await upstream.asked("held deadline", 2)
    found = await ended(http, job)
    assert found["job"]["status"] == "expired"
    assert {child["error"]["code"] for child in found["children"]} == {"DEADLINE_EXCEEDED"}


async def test_enough_answers_end_the_rest(server, http, upstream):
    """The first answer is enough; the other call is interrupted and the parent completed."""
    job = await submit(http, "held finish", finish={"atLeast": 1}, surfaces=["site", "quick"])
    found = await ended(http, job)
    assert found["job"]["status"] == "completed"
    assert sorted(child["status"] for child in found["children"]) in (
        ["canceled", "canceled", "canceled", "completed"],
        ["canceled", "canceled", "completed", "completed"],
    )


async def test_a_delayed_job_holds_its_place_and_then_runs(server, http):
    """It is queued until its delay is over, and nobody has to wake it."""
    job = await submit(http, "later", surfaces=["quick"], delay=1)
    status = await said(http.get("/v1/async/status"))
    assert (status["admissionQueue"]["depth"], status["admissionQueue"]["delayed"]) == (1, 1)
    assert (await ended(http, job))["job"]["status"] == "completed"


async def test_a_group_is_canceled_and_retried_while_it_runs(server, http, upstream):
    """Waiting, ready and running cells alike; then every one of them is answered."""
    jobs = [await submit(http, "held group", group="g") for _ in range(30)]
    await upstream.asked("held group", 20)
    matched = await said(http.post("/v1/groups/g/cancel"))
    assert matched == {"group": "g", "matched": 30}

    async def all_in(status: str) -> bool:
        return bool((await said(http.get("/v1/groups/g")))["parents"][status] == 30)

    await eventually(lambda: all_in("canceled"))
    await upstream.release("held group")
    assert (await said(http.post("/v1/groups/g/retry")))["matched"] == 30
    await eventually(lambda: all_in("completed"))
    runs = {(await read(http, job))["job"]["run"] for job in jobs}
    assert runs == {2}
    assert await server.differences() == []


async def test_jobs_are_steered_while_they_run(server, http):
    """Cancels, retries and erasures at any moment of many jobs' lives: all end, counters agree."""
    jobs = [
        await submit(http, f"steered {n}", surfaces=["quick"], regions=["US", "GB", "FR"])
        for n in range(40)
    ]

    async def steer(n: int, job: str) -> None:
        for step in range(4):
            what = ("cancel", "retry")[(n + step) % 2]
            async with http.post(f"/v1/jobs/{job}/{what}") as reply:
                assert reply.status in {200, 202, 409}, await reply.text()
            await asyncio.sleep(0.01 * (n % 5))

    await asyncio.gather(*(steer(n, job) for n, job in enumerate(jobs)))
    for job in jobs:
        await ended(http, job)
        async with http.delete(f"/v1/jobs/{job}") as reply:
            assert reply.status == 204
        async with http.get(f"/v1/jobs/{job}") as reply:
            assert reply.status == 404
    assert await server.differences() == []
