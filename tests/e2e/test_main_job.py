"""The main job, from nothing: one query, many surfaces and regions, real HTTP and processes."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestrator.client import ApiError, Client
from orchestrator.domain.snapshot import Snapshot
from tests.e2e import processes
from tests.e2e.processes import Server
from tests.stateful.snapshots import equations
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

REGIONS: list[Any] = ["US", "GB", {"country": "GB", "city": "Leeds"}, "DE"]
COUNTRIES = ["US", "GB", "GB", "DE"]
CALLERS = 32
CAPACITY = 5
TRIES = 3
DEPTH = """
SELECT u.depth, (SELECT count(*) FROM parent WHERE key_id = u.key_id AND state = 'queued')
FROM usage u JOIN api_key k ON k.id = u.key_id WHERE k.name = %(name)s
"""


@pytest.fixture(scope="module")
async def server(upstream, tmp_path_factory) -> AsyncIterator[Server]:
    """Made by the commands a user types: migrate, a key, `up`."""
    made = processes.furnished(tmp_path_factory.mktemp("main"), upstream.url)
    assert await made.command("migrate")
    key = await made.command("keys", "create", "main", "--rate", "100000", "--json")
    made.secret = json.loads(key)["key"]
    async with made.up("--api", "2", "--workers", "2"):
        yield made


async def look(client: Client) -> Snapshot:
    """The snapshot; its equations hold, whatever happens."""
    taken = await client.status()
    equations(taken)
    return taken


async def test_one_parent_over_surfaces_and_regions(server, upstream):
    """Submitted, seen in the snapshot, polled to its end, read as Envelopes; nothing is left."""
    query = "held shoes"
    async with server.client(server.secret) as client:
        assert (await look(client)).inflight.total == 0
        job = await client.submit(query, surfaces=["site", "quick"], regions=REGIONS)
        await upstream.asked(query, len(REGIONS))
        during = await look(client)
        assert during.inflight.by_surface["site"] == len(REGIONS)
        assert during.inflight.by_region["GB"] >= 2
        assert during.processing_tasks >= len(REGIONS)
        await upstream.release(query)
        reads = []
        async for read in client.watch(job.job_id):
            reads.append(read.job)
            await look(client)
        envelopes = [envelope async for envelope in client.results(job.job_id)]
        after = await look(client)
    assert (reads[-1].status, reads[-1].counts.completed) == ("completed", 2 * len(REGIONS))
    assert [envelope.job.id for envelope in envelopes] == list(job.children)
    site, quick = envelopes[: len(REGIONS)], envelopes[len(REGIONS) :]
    told = [envelope.answer.text for envelope in site]
    assert told == [f"{query} in {country}" for country in COUNTRIES]
    assert all(query in envelope.answer.text for envelope in quick)
    assert {envelope.provenance.method for envelope in quick} == {"simulator"}
    assert [envelope.provenance.region.requested for envelope in envelopes] == COUNTRIES * 2
    assert upstream.of(query) == Counter(COUNTRIES)
    assert (after.inflight.total, after.admission_queue.depth) == (0, 0)
    assert await server.differences() == []


async def test_a_full_queue_refuses_exactly(server, upstream):
    """32 callers at two API processes: as many 202s as places, all else a typed 429."""
    secret = await server.key("full", queue_capacity=CAPACITY, concurrency=1)
    full = asyncio.Event()
    async with server.client(secret) as client:
        await fill_the_window(client)
        counting = asyncio.create_task(deepest(server, full))
        asked = await asyncio.gather(*(caller(server, secret, n) for n in range(CALLERS)))
        full.set()
        assert await counting <= CAPACITY
        taken = await look(client)
        answers = [answer for answers in asked for answer in answers]
        refusals = [answer for answer in answers if isinstance(answer, ApiError)]
        jobs = [answer for answer in answers if isinstance(answer, str)]
        assert len(answers) == CALLERS * TRIES
        assert len(jobs) == CAPACITY == taken.admission_queue.depth
        assert taken.headroom.asynchronous == 0
        for refusal in refusals:
            typed_no(refusal)
        await upstream.release("held window", "held burst")
        for job in jobs:
            assert (await client.wait(job)).job.status == "completed"
        assert (await look(client)).headroom.asynchronous == CAPACITY
    assert upstream.of("held burst") == {"US": CAPACITY}
    assert await server.differences() == []


async def fill_the_window(client: Client) -> None:
    """Two cells of a key that may run one leave the queue, and no more until one has ended."""
    for _ in range(2):
        await client.submit("held window", surfaces=["site"], regions=["US"])

    async def left() -> bool:
        taken = await look(client)
        return taken.inflight.waiting == 0

    await eventually(left)


async def caller(server: Server, secret: str, number: int) -> list[str | ApiError]:
    """A client with a connection of its own; what it was answered."""
    answers: list[str | ApiError] = []
    async with server.client(secret) as client:
        for _ in range(TRIES):
            try:
                accepted = await client.submit("held burst", surfaces=["site"], regions=["US"])
            except ApiError as error:
                answers.append(error)
            else:
                answers.append(accepted.job_id)
    return answers


async def deepest(server: Server, done: asyncio.Event) -> int:
    """The most that were in the queue at any look; counter and rows agree at each."""
    most = 0
    async with server.connected() as connection:
        while not done.is_set():
            cursor = await connection.execute(DEPTH, {"name": "full"})
            ((counted, rows),) = await cursor.fetchall()
            assert counted == rows
            most = max(most, counted)
            await asyncio.sleep(0.005)
    return most


def typed_no(refusal: ApiError) -> None:
    details = json.loads(refusal.details)
    assert (refusal.status, refusal.code) == (429, "QUEUE_CAPACITY_EXCEEDED")
    assert 1 <= details.pop("retryAfterSeconds") <= 60
    assert details == {
        "limit": CAPACITY,
        "current": CAPACITY,
        "requested": 1,
        "watch": "admissionQueue",
    }
