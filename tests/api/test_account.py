"""What a key is and has used."""

import pytest

from admission import keys
from admission.limits import Limits
from orchestrator.domain import plan as plans
from tests import factories
from tests.api.test_sync import BODY, TWO

pytestmark = pytest.mark.anyio


async def test_a_key_reads_itself(issue, opened):
    """Id, name, role, limits and the end of the secret; the secret itself is nowhere."""
    issued = await issue(
        requests_per_minute=60, sync_limit=2, queue_capacity=3, concurrency=4, weight=0.5
    )
    async with opened(issued.secret) as client:
        answer = await client.get("/v1/key")
    assert answer.json() == {
        "id": issued.key.id,
        "name": issued.key.name,
        "role": "client",
        "limits": {
            "requestsPerMinute": 60,
            "syncLimit": 2,
            "queueCapacity": 3,
            "concurrency": 4,
            "weight": 0.5,
            "quotaDaily": None,
            "quotaMonthly": None,
            "coalesce": True,
        },
        "expiresAt": None,
    }


async def test_an_operators_key_says_so(connection, opened):
    """The role is shown."""
    issued = await keys.create(connection, "boss", role="operator")
    async with opened(issued.secret) as client:
        assert (await client.get("/v1/key")).json()["role"] == "operator"


async def test_usage_counts_every_cell_ever_asked_for(client, worker, connection):
    """By surface, sync and async alike, whatever became of them; erased jobs still count."""
    assert (await client.get("/v1/usage")).json()["usage"] == {"totalJobs": 0, "bySurface": {}}
    await client.post("/v1/search", json={**TWO, "regions": ["US", "GB"]})
    await client.post("/v1/search", json=BODY, headers={"Prefer": "wait=1"})
    await factories.complete(connection, await factories.claim(connection))
    await connection.execute("DELETE FROM child")
    await connection.execute("DELETE FROM parent")
    answer = await client.get("/v1/usage")
    assert answer.json() == {
        "plan": "self-hosted",
        "usage": {"totalJobs": 5, "bySurface": {"chatgpt": 3, "site": 2}},
        "balance": {"plan": "self-hosted", "credits": None, "unlimited": True},
        "quotas": {"daily": None, "monthly": None},
    }


async def test_a_key_that_shares_no_calls_says_so_to_workers(connection, registered, opened):
    """Each of its jobs does; of another key none does. A replay is one either way."""
    for name, shares in (("own", False), ("shared", True)):
        issued = await keys.create(connection, name, limits=Limits(coalesce=shares))
        async with opened(issued.secret) as client:
            await client.post("/v1/search", json=BODY)
    told = "SELECT array_agg(payload ->> 'coalesce' ORDER BY key_id) FROM parent"
    assert await factories.scalar(connection, told) == ["false", None]
    own = factories.plan(coalesce=False)
    assert plans.fingerprint(own) == plans.fingerprint(factories.plan())


async def test_a_replay_is_not_counted_again(client):
    """One job is one job."""
    for _ in range(3):
        await client.post("/v1/search", json=BODY, headers={"Idempotency-Key": "k"})
    assert (await client.get("/v1/usage")).json()["usage"]["totalJobs"] == 1
