"""A pruned job over HTTP: as if it had never been, but for what it used."""

import pytest

from orchestrator.store import children, pruning
from orchestrator.store.children import Completed
from tests.factories import CAPTURE

pytestmark = pytest.mark.anyio

DAY = 86_400
BODY = {
    "query": "shoes",
    "surfaces": ["chatgpt"],
    "regions": ["US", "GB"],
    "group": "night",
    "idempotencyKey": "k",
}
LONG_AGO = "UPDATE parent SET finished_at = now() - interval '25 hours'"


@pytest.fixture
async def pruned(client, worker) -> str:
    """The id of a job that completed, and is kept no longer."""
    reply = await client.post("/v1/search", json=BODY)
    outcomes = [Completed(fence, CAPTURE) for fence in await worker.claim()]
    await children.settle(worker.connection, outcomes)
    await worker.connection.execute(LONG_AGO)
    found = await pruning.prune(worker.connection, retention_seconds=DAY)
    assert found == (1, 2)
    return str(reply.json()["jobId"])


@pytest.mark.parametrize(
    "asked",
    [
        *("GET {}", "GET {}?wait=1", "GET {}.chatgpt.us", "GET {}/results", "GET {}/events"),
        *("POST {}/cancel", "POST {}.chatgpt.us/cancel", "POST {}/retry"),
        *("POST {}.chatgpt.gb/retry", "DELETE {}", "DELETE {}.chatgpt.us"),
    ],
)
async def test_whatever_is_asked_of_it_there_is_no_such_job(client, pruned, asked):
    """404 like a job there never was: of the job, of a child, read or steered."""
    method, path = asked.format(pruned).split()
    reply = await client.request(method, f"/v1/jobs/{path}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "JOB_NOT_FOUND")


async def test_its_results_are_not_streamed(client, pruned):
    """404 before the first line."""
    lines = {"Accept": "application/x-ndjson"}
    reply = await client.get(f"/v1/jobs/{pruned}/results", headers=lines)
    assert reply.status_code == 404


async def test_it_is_not_listed_and_neither_is_its_group(client, pruned):
    """A group is its parents."""
    assert (await client.get("/v1/jobs")).json()["jobs"] == []
    assert (await client.get("/v1/groups/night")).status_code == 404


async def test_its_idempotency_key_makes_another_job(client, pruned):
    """In the group it was in, whose name this process remembers."""
    reply = await client.post("/v1/search", json=BODY)
    assert reply.status_code == 202
    assert reply.json()["jobId"] != pruned
    group = (await client.get("/v1/groups/night")).json()
    assert group["parents"]["queued"] == 1


async def test_what_it_used_is_still_counted(client, pruned):
    """Usage is lifetime."""
    usage = (await client.get("/v1/usage")).json()["usage"]
    assert (usage["totalJobs"], usage["bySurface"]) == (2, {"chatgpt": 2})
