"""Groups over HTTP: counts the database keeps, and what is asked of all parents of one."""

import pytest

from orchestrator import stewardship
from orchestrator.domain import ids
from orchestrator.domain.envelope import Failure
from orchestrator.store import children
from orchestrator.store.children import Completed, Failed
from tests.workers.database import pool_of

pytestmark = pytest.mark.anyio

CAPTURE = (
    '{"answer": {"text": "tea"}, "evidence": {}, "provenance": {"adapter": "simulator",'
    ' "method": "simulator", "region": {"requested": "US"}, "surfacePresent": true}}'
)
BROKEN = Failure(code="BAD_RESPONSE", message="It made no sense.", retryable=False)
BODY = {"query": "shoes", "surfaces": ["chatgpt"], "regions": ["US", "GB"], "group": "night"}
NONE = {
    "parents": dict.fromkeys(
        ("queued", "processing", "completed", "partial", "failed", "canceled", "expired"), 0
    ),
    "cells": dict.fromkeys(
        ("queued", "processing", "completed", "failed", "canceled", "expired"), 0
    ),
}


async def submit(client, **fields) -> str:
    reply = await client.post("/v1/search", json=BODY | fields)
    assert reply.status_code == 202, reply.text
    return str(reply.json()["jobId"])


async def counted(client, group="night"):
    return (await client.get(f"/v1/groups/{group}")).json()


def counts(group="night", *, parents, cells):
    return {
        "group": group,
        "parents": NONE["parents"] | parents,
        "cells": NONE["cells"] | cells,
    }


async def act(database) -> int:
    """Carry out what is asked; how many batches that took."""
    batches = 0
    async with pool_of(database) as pool:
        while await stewardship.act(pool):
            batches += 1
    return batches


async def test_a_group_counts_its_parents_and_cells_by_status(client, worker):
    """Waiting cells are queued; the job says its group."""
    first, _ = await submit(client), await submit(client, delay=60)
    await submit(client, group="other")
    assert (await client.get(f"/v1/jobs/{first}")).json()["job"]["group"] == "night"
    assert await counted(client) == counts(parents={"queued": 2}, cells={"queued": 4})
    fences = await worker.claim()
    one, two = (fence for fence in fences if ids.text(fence.parent_id) == first)
    assert await counted(client) == counts(
        parents={"queued": 1, "processing": 1}, cells={"queued": 2, "processing": 2}
    )
    await children.settle(worker.connection, [Completed(one, CAPTURE), Failed(two, BROKEN)])
    assert await counted(client) == counts(
        parents={"queued": 1, "partial": 1}, cells={"queued": 2, "completed": 1, "failed": 1}
    )


async def test_a_group_nobody_made_or_of_another_key_is_not_found(
    client, registered, issue, opened
):
    """404 alike, for a name that cannot be one too."""
    await submit(client)
    async with opened((await issue()).secret) as other:
        for name in ("night", "day", "a b", "x" * 65):
            for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry")):
                reply = await other.request(method, f"/v1/groups/{name}{path}")
                assert (reply.status_code, reply.json()["error"]["code"]) == (404, "NOT_FOUND")


async def test_an_erased_group_is_empty_and_not_found(client):
    """A group is its parents."""
    job = await submit(client)
    await client.post(f"/v1/jobs/{job}/cancel")
    assert (await client.delete(f"/v1/jobs/{job}")).status_code == 204
    assert (await client.get("/v1/groups/night")).status_code == 404


async def test_a_whole_group_is_canceled(client, worker, database):
    """202 at once with how many; then in batches, what waits and what works, and no others."""
    jobs = [await submit(client) for _ in range(3)]
    (running,) = await worker.claim(slots=1)
    jobs += [await submit(client), await submit(client, delay=60)]
    other = await submit(client, group="other")
    reply = await client.post("/v1/groups/night/cancel")
    assert (reply.status_code, reply.json()) == (202, {"group": "night", "matched": 5})
    assert await act(database) >= 2
    group = await counted(client)
    assert (group["parents"]["canceled"], group["parents"]["processing"]) == (4, 1)
    assert group["cells"]["processing"] == 1
    assert (await client.get(f"/v1/jobs/{other}")).json()["job"]["status"] == "queued"
    await children.settle(worker.connection, [children.GivenBack(running)])
    assert (await counted(client))["parents"]["canceled"] == 5
    assert await act(database) == 0


async def test_a_whole_group_is_retried(client, worker, database):
    """Every ended parent with such a cell starts its next run; what is completed stays."""
    await submit(client), await submit(client)
    fences = await worker.claim()
    done = fences[0].parent_id
    await children.settle(
        worker.connection,
        [
            Completed(fence, CAPTURE) if fence.parent_id == done else Failed(fence, BROKEN)
            for fence in fences
        ],
    )
    reply = await client.post("/v1/groups/night/retry", json={"statuses": ["canceled"]})
    assert reply.json() == {"group": "night", "matched": 0}
    reply = await client.post("/v1/groups/night/retry")
    assert (reply.status_code, reply.json()) == (202, {"group": "night", "matched": 1})
    await act(database)
    assert await counted(client) == counts(
        parents={"queued": 1, "completed": 1}, cells={"queued": 2, "completed": 2}
    )


async def test_a_retry_of_a_group_waits_for_room(issue, opened, worker, database):
    """Beyond the capacity the action rests; when there is room it goes on where it was."""
    async with opened((await issue(queue_capacity=2)).secret) as client:
        for _ in range(2):
            await submit(client, regions=["US"]), await submit(client, regions=["US"])
            for fence in await worker.claim():
                await children.settle(worker.connection, [Failed(fence, BROKEN)])
        assert (await client.post("/v1/groups/night/retry")).json()["matched"] == 4
        await act(database)
        assert (await counted(client))["parents"] | {} == NONE["parents"] | {
            "queued": 2,
            "failed": 2,
        }
        await worker.claim()
        await worker.connection.execute("UPDATE group_action SET retry_at = now()")
        await act(database)
        assert (await counted(client))["parents"]["failed"] == 0


async def test_a_cancel_of_a_group_calls_off_what_is_left_of_its_retries(
    issue, opened, worker, database
):
    """A retry that waited for room does not bring back to life what is canceled after it."""
    async with opened((await issue(queue_capacity=1)).secret) as client:
        for _ in range(2):
            await submit(client, regions=["US"])
            for fence in await worker.claim():
                await children.settle(worker.connection, [Failed(fence, BROKEN)])
        assert (await client.post("/v1/groups/night/retry")).json()["matched"] == 2
        await act(database)
        assert (await counted(client))["parents"]["queued"] == 1
        assert (await client.post("/v1/groups/night/cancel")).json()["matched"] == 1
        await worker.connection.execute("UPDATE group_action SET retry_at = now()")
        await act(database)
        parents = (await counted(client))["parents"]
        assert (parents["canceled"], parents["failed"]) == (1, 1)


async def test_what_is_asked_of_one_group_does_not_wait_for_another(
    client, worker, database, monkeypatch
):
    """Actions take turns, a batch each: a large group is not done before a small one begins."""
    monkeypatch.setattr(stewardship, "CANCELED_AT_ONCE", 1)
    for name, n in (("large", 5), ("small", 1)):
        for _ in range(n):
            await submit(client, group=name)
        await client.post(f"/v1/groups/{name}/cancel")
    async with pool_of(database) as pool:
        for _ in range(4):
            assert await stewardship.act(pool)
    small, large = await counted(client, "small"), await counted(client, "large")
    assert small["parents"]["queued"] == 0
    assert large["parents"]["queued"] > 0
