"""Adapters that kill, block, hoard and worse: each harms its own child, and no other fails."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from orchestrator.client import Client
from orchestrator.domain.documents import Envelope
from tests.e2e import processes
from tests.e2e.processes import Server
from tests.workers import poison

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(400)]

CONFIGURATION = """
[surfaces.poison]
adapter = "poison"
attempts = 1
timeout = "2s"

[surfaces.neighbour]
adapter = "poison"
attempts = 1
timeout = "10m"
"""
MEMORY = "700MiB"
LOST = {"WORKER_LOST"}
BROKEN = {"ADAPTER_ERROR"}
ENDS = {
    "dies": LOST,
    "blocks": LOST,
    "hoards": BROKEN | LOST,
    "exits": BROKEN,
    "interrupts": BROKEN,
    "raises": BROKEN,
    "cancels": BROKEN,
    "nothing": BROKEN,
    "nonsense": BROKEN,
    "unheard": BROKEN,
    "leaks": BROKEN,
    "swells": {"RESPONSE_TOO_LARGE"},
    "deaf": {"UPSTREAM_TIMEOUT"},
    "gives_up": {"UPSTREAM_TIMEOUT"},
}
NEIGHBOURS = ["US", "GB", "DE", "FR", "IT", "ES", "SE", "PL"]


@pytest.fixture(scope="module")
async def server(anyio_backend, tmp_path_factory) -> AsyncIterator[Server]:
    made = processes.configured(tmp_path_factory.mktemp("poison"), CONFIGURATION)
    installed = poison.installed(tmp_path_factory.mktemp("installed"))
    made.environment |= {"PYTHONPATH": str(installed), "PARALLAX_WORKER_MEMORY": MEMORY}
    async with made.up("--workers", "2"):
        yield made


async def only(client: Client, job: str) -> Envelope:
    (envelope,) = [envelope async for envelope in client.results(job)]
    return envelope


async def test_every_poison_fails_its_child_alone(server, tmp_path):
    """Typed; who ran beside it runs once more at the worst, and nothing is counted against them."""
    gate = tmp_path / "gate"
    async with server.client(await server.key("poisoned")) as client:
        query = f"holds {gate}"
        beside = await client.submit(query, surfaces=["neighbour"], regions=NEIGHBOURS)
        jobs = {
            deed: await client.submit(deed, surfaces=["poison"], regions=["US"]) for deed in ENDS
        }
        ends = {}
        for deed, job in jobs.items():
            await client.wait(job.job_id)
            ends[deed] = await only(client, job.job_id)
        await asyncio.to_thread(gate.touch)
        await client.wait(beside.job_id)
        neighbours = [envelope async for envelope in client.results(beside.job_id)]
    for deed, envelope in ends.items():
        assert str(envelope.job.status) == "failed", deed
        assert envelope.job.error.code in ENDS[deed], deed
    assert [str(one.job.status) for one in neighbours] == ["completed"] * len(NEIGHBOURS)
    for one in neighbours:
        assert one.job.attempts == 1
        assert {entry.status for entry in one.job.attempt_log} <= {"lost", "completed"}
    assert await server.differences() == []
