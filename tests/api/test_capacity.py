"""The snapshot, the surfaces and the health over HTTP."""

import pytest

from orchestrator.store import children
from orchestrator.store.children import Completed

pytestmark = pytest.mark.anyio

BODY = {"query": "a", "surfaces": ["chatgpt", "site"], "regions": ["US", "GB"], "priority": 7}


def balanced(snapshot) -> bool:
    """The equations every snapshot keeps."""
    flight = snapshot["inflight"]
    queue, room = snapshot["admissionQueue"], snapshot["headroom"]
    return (
        flight["total"]
        == flight["waiting"] + flight["queued"] + flight["processing"]
        == sum(flight["bySurface"].values())
        == sum(flight["byRegion"].values())
        and snapshot["queuedTasks"]
        == flight["waiting"] + flight["queued"]
        == sum(level["count"] for level in snapshot["priorityBreakdown"])
        and snapshot["processingTasks"] == snapshot["concurrency"]["used"] == flight["processing"]
        and queue["depth"] == queue["waiting"] + queue["reserved"]
        and room["async"] == max(0, queue["capacity"] - queue["depth"])
    )


async def test_the_snapshot_of_a_new_key_is_all_headroom(registered, issue, opened):
    """The whole document, with every field, at zero."""
    limits = {"queue_capacity": 9, "concurrency": 5, "sync_limit": 2, "requests_per_minute": 60}
    async with opened((await issue(**limits)).secret) as client:
        snapshot = (await client.get("/v1/async/status")).json()
    as_of = snapshot["asOf"]
    assert snapshot == {
        "admissionQueue": {
            "depth": 0,
            "capacity": 9,
            "waiting": 0,
            "reserved": 0,
            "delayed": 0,
            "held": [],
            "drainPerSecond": 0.0,
            "oldestAgeSeconds": None,
        },
        "syncConcurrency": {"limit": 2, "running": 0},
        "requestRate": {"limit": 60, "remaining": 60, "resetAt": as_of},
        "inflight": {
            "total": 0,
            "waiting": 0,
            "queued": 0,
            "processing": 0,
            "bySurface": {},
            "byRegion": {},
        },
        "queuedTasks": 0,
        "processingTasks": 0,
        "priorityBreakdown": [],
        "concurrency": {"used": 0, "max": 7},
        "headroom": {"async": 9, "sync": 2},
        "asOf": as_of,
    }


async def test_the_snapshot_tells_the_truth_through_a_parents_life(client, worker):
    """Waiting, queued, processing, done: the equations hold and each cell is where it is."""
    await client.post("/v1/search", json=BODY)
    waiting = (await client.get("/v1/async/status")).json()
    assert balanced(waiting)
    assert waiting["admissionQueue"]["depth"] == 1
    assert waiting["inflight"]["byRegion"] == {"GB": 2, "US": 2}
    assert waiting["priorityBreakdown"] == [{"priority": 7, "count": 4}]

    fences = await worker.claim(slots=3)
    running = (await client.get("/v1/async/status")).json()
    assert balanced(running)
    flight = running["inflight"]
    assert (flight["waiting"], flight["queued"], flight["processing"]) == (0, 1, 3)

    fences += await worker.claim()
    await children.settle(worker.connection, [Completed(fence, "{}") for fence in fences])
    ended = (await client.get("/v1/async/status")).json()
    assert balanced(ended)
    assert ended["inflight"]["total"] == 0


async def test_the_snapshot_is_the_keys_own(client, issue, opened):
    """What another key has waiting is not in it."""
    await client.post("/v1/search", json=BODY)
    async with opened((await issue()).secret) as other:
        assert (await other.get("/v1/async/status")).json()["inflight"]["total"] == 0


async def test_surfaces_say_how_they_are_captured_by_whom_and_where_from(client, worker):
    """Adapter, method, regions, limits, live workers, options and lanes of each surface."""
    await client.post("/v1/search", json=BODY | {"surfaces": ["site"]})
    surfaces = (await client.get("/v1/surfaces")).json()["surfaces"]
    assert [surface["name"] for surface in surfaces] == ["chatgpt", "site"]
    assert surfaces[1] == {
        "name": "site",
        "adapter": "http",
        "method": "http",
        "regions": ["GB", "US"],
        "limits": {"concurrency": 100, "rate": None, "attempts": 4, "timeoutSeconds": 30.0},
        "liveWorkers": 1,
        "optionsSchema": {},
        "lanes": [
            {
                "country": country,
                "concurrency": 100,
                "adaptiveLimit": 100,
                "breaker": {"state": "closed", "until": None},
            }
            for country in ("GB", "US")
        ],
    }


async def test_health_needs_no_key(anonymous):
    """200 with the schema's version while the database answers."""
    answer = await anonymous.get("/v1/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "schemaVersion": "1.0"})


async def test_readiness_wants_a_live_worker(anonymous, registered):
    """`?ready=1` is 503 until a worker lives."""
    answer = await anonymous.get("/v1/health?ready=1")
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)


async def test_readiness_is_well_with_a_live_worker(anonymous, worker):
    """`?ready=1` is 200 once one has registered."""
    assert (await anonymous.get("/v1/health?ready=1")).status_code == 200


async def test_the_document_is_served_without_a_key(anonymous):
    """`GET /schema/openapi.json` is an OpenAPI 3.1 document."""
    assert (await anonymous.get("/schema/openapi.json")).json()["openapi"] == "3.1.0"
