"""The snapshot, the surfaces and the health over HTTP."""

from datetime import UTC, datetime

import pytest

from orchestrator.domain.times import rfc3339
from orchestrator.store import children
from orchestrator.store.children import Completed
from tests import factories

pytestmark = pytest.mark.anyio

BODY = {"query": "a", "surfaces": ["chatgpt", "site"], "regions": ["US", "GB"], "priority": 7}


def balanced(snapshot) -> bool:
    """The equations every snapshot keeps."""
    flight = snapshot["inflight"]
    queue, room = snapshot["admissionQueue"], snapshot["headroom"]
    sync = snapshot["syncConcurrency"]
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
        and room["sync"] == max(0, sync["limit"] - sync["running"])
    )


async def test_the_snapshot_of_a_new_key_is_all_headroom(registered, issue, opened):
    """The whole document, with every field, at zero."""
    limits = {"queue_capacity": 9, "concurrency": 5, "sync_limit": 2, "requests_per_minute": 60}
    async with opened((await issue(**limits)).secret) as client:
        answer = await client.get("/v1/async/status")
    snapshot = answer.json()
    as_of, full_at = snapshot["asOf"], int(answer.headers["X-RateLimit-Reset"])
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
        "requestRate": {
            "limit": 60,
            "remaining": 59,  # this very request cost one
            "resetAt": rfc3339(datetime.fromtimestamp(full_at, UTC)),
        },
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
        "limits": {
            "concurrency": 100,
            "rate": None,
            "slots": 1,
            "attempts": 4,
            "timeoutSeconds": 30.0,
            "credits": 0,
        },
        "liveWorkers": 1,
        "optionsSchema": {},
        "lanes": [
            {
                "surface": "site",
                "country": country,
                "concurrency": 100,
                "rate": None,
                "limit": None,
                "adaptiveLimit": 100,
                "allowed": 100,
                "queued": 0,
                "processing": 0,
                "paused": False,
                "retryAt": None,
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


async def test_the_rate_of_the_snapshot_is_that_of_its_headers(client):
    """RequestRate and X-RateLimit-* of one response never disagree, and each request costs one."""
    left = []
    for _ in range(5):
        answer = await client.get("/v1/async/status")
        rate = answer.json()["requestRate"]
        assert answer.headers["X-RateLimit-Limit"] == str(rate["limit"]) == "600"
        assert answer.headers["X-RateLimit-Remaining"] == str(rate["remaining"])
        reset = datetime.fromtimestamp(int(answer.headers["X-RateLimit-Reset"]), UTC)
        assert rate["resetAt"] == rfc3339(reset)
        left.append(rate["remaining"])
    assert max(left) <= 599


async def test_the_snapshot_counts_sync_callers_and_the_detached_beyond_the_limit(
    registered, issue, opened, connection
):
    """Running = callers + detached parents beyond the limit; headroom is the rest."""
    issued = await issue(sync_limit=2)
    async with opened(issued.secret) as client:
        lane = await factories.lane(connection)
        for callers, detached, running in ((0, 2, 0), (1, 2, 1), (1, 3, 2), (0, 4, 2)):
            await connection.execute("DELETE FROM sync_wait")
            await connection.execute("DELETE FROM parent")
            for n in range(callers + detached):
                parent = await factories.sync_parent(connection, issued.key, [lane])
                if n >= callers:
                    await connection.execute("DELETE FROM sync_wait WHERE parent_id = %s", [parent])
                    await connection.execute(
                        "UPDATE parent SET mode = 'detached' WHERE id = %s", [parent]
                    )
            snapshot = (await client.get("/v1/async/status")).json()
            assert snapshot["syncConcurrency"] == {"limit": 2, "running": running}
            assert snapshot["headroom"]["sync"] == 2 - running


async def test_a_lane_shows_its_breaker(client, connection):
    """Closed, open until a time, half-open once that is over."""
    await factories.lane(connection)
    for until, expected in (
        ("NULL", "closed"),
        ("now() + interval '1 hour'", "open"),
        ("now() - interval '1 second'", "half_open"),
    ):
        await connection.execute(f"UPDATE lane SET open_until = {until}")
        surfaces = (await client.get("/v1/surfaces")).json()["surfaces"]
        (shown,) = [view for one in surfaces for view in one["lanes"]]
        assert shown["breaker"]["state"] == expected
        assert (shown["breaker"]["until"] is not None) == (expected == "open")
