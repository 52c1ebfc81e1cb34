"""What operators may ask beside their own: every key's jobs, every process, every key, metrics."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar import Litestar
from prometheus_client.parser import text_string_to_metric_families

from admission import keys
from orchestrator.api.app import create_app
from orchestrator.api.traffic import BOUNDS
from orchestrator.domain.times import rfc3339
from orchestrator.settings import Settings
from orchestrator.store import children
from orchestrator.store.children import Completed, Retry
from tests import factories
from tests.api.test_rate import process
from tests.store import telling

pytestmark = pytest.mark.anyio

BODY = {"query": "shoes", "surfaces": ["chatgpt"], "regions": ["US", "GB"]}
STATES = ("waiting", "queued", "retrying", "processing")
BUCKETS = (*map(str, BOUNDS), "+Inf")
FOR_OPERATORS = ("/v1/nodes", "/v1/keys", "/metrics")


@pytest.fixture
async def app(anyio_backend, settings) -> AsyncIterator[Litestar]:
    """An application of the test's own, open, which has counted nothing yet."""
    made = create_app(settings)
    async with made.lifespan():
        yield made


@pytest.fixture
async def operator(connection, registered, opened) -> AsyncIterator[httpx.AsyncClient]:
    """A client with an operator's key."""
    issued = await keys.create(connection, "boss", role="operator")
    async with opened(issued.secret) as made:
        yield made


async def name(client) -> str:
    return (await client.get("/v1/key")).json()["name"]


async def submit(client, **fields) -> str:
    answer = await client.post("/v1/search", json=BODY | fields)
    assert answer.status_code == 202
    return answer.json()["jobId"]


async def listed(client, **query) -> list[str]:
    return [job["id"] for job in (await client.get("/v1/jobs", params=query)).json()["jobs"]]


async def keyed(operator, named: str) -> dict[str, Any]:
    (found,) = [key for key in await every_key(operator) if key["name"] == named]
    return found


async def every_key(operator) -> list[dict[str, Any]]:
    return (await operator.get("/v1/keys")).json()["keys"]


def of(metric: str, **labels: str) -> tuple[Any, ...]:
    """What names a sample, whatever the order of its labels."""
    return (metric, *sorted(labels.items()))


def cells(seen, surface: str, country: str) -> list[float]:
    """The cells of a lane: waiting, queued, retrying, processing."""
    lane = {"surface": surface, "country": country}
    return [seen[of("parallax_lane_cells", state=state, **lane)] for state in STATES]


async def samples(client) -> dict[tuple[Any, ...], float]:
    """Every sample of a scrape."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    return {
        of(sample.name, **sample.labels): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_an_operator_lists_another_keys_jobs(operator, client):
    """By the key's name, with the filters and pages of any list; without a name, its own."""
    own = await submit(operator)
    made = [await submit(client, group=f"g{n}") for n in range(3)]
    theirs = await name(client)
    assert await listed(operator) == [own]
    assert await listed(operator, key="boss") == [own]
    assert await listed(operator, key=theirs) == made[::-1]
    assert await listed(operator, key=theirs, group="g1") == [made[1]]
    first = (await operator.get("/v1/jobs", params={"key": theirs, "limit": 2})).json()
    rest = await listed(operator, key=theirs, cursor=first["nextCursor"])
    assert [job["id"] for job in first["jobs"]] + rest == made[::-1]


@pytest.mark.parametrize("named", ["nobody", "", "\0", "boss ", "x" * 5000])
async def test_a_key_that_is_not_there_is_not_found(operator, named):
    """404, whatever the name looks like; a bad filter beside it is told first."""
    answer = await operator.get("/v1/jobs", params={"key": named})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "NOT_FOUND"
    assert "no such key" in answer.json()["error"]["message"]
    both = await operator.get("/v1/jobs", params={"key": named, "limit": "many"})
    assert both.status_code == 400


async def test_to_a_client_every_key_is_one_that_is_not_there(operator, client):
    """404 whether there is one of that name or not, even its own."""
    told = set()
    for named in ("boss", "nobody", "\0", await name(client)):
        answer = await client.get("/v1/jobs", params={"key": named})
        assert answer.status_code == 404
        told.add(answer.json()["error"]["message"])
    assert len(told) == 1


async def test_every_process_is_listed(operator, worker, app, connection):
    """Workers and API processes with what they serve and hold; a dead one says so."""
    dead = await factories.node(connection, surfaces=["site"], age_seconds=60)
    await submit(operator)
    await worker.claim(slots=1)
    answer = await operator.get("/v1/nodes")
    found = {node["id"]: node for node in answer.json()["nodes"]}
    here = app.state["services"].presence.node_id
    assert found.keys() == {worker.node, dead, here}
    cursor = await connection.execute("SELECT started_at FROM node WHERE id = %s", [worker.node])
    (started,) = await cursor.fetchone()
    assert found[worker.node] == {
        "id": worker.node,
        "kind": "worker",
        "host": "test",
        "pid": 1,
        "slots": 100,
        "surfaces": ["chatgpt", "site"],
        "alive": True,
        "running": 1,
        "startedAt": rfc3339(started),
        "heartbeatAt": rfc3339(started),
    }
    assert (found[dead]["alive"], found[dead]["running"]) == (False, 0)
    assert (found[here]["kind"], found[here]["alive"], found[here]["surfaces"]) == ("api", True, [])


async def test_every_key_is_listed_with_its_limits_and_no_secret(
    operator, registered, issue, opened, connection
):
    """By name; live secrets are counted, none is shown."""
    issued = await issue(queue_capacity=9, sync_limit=2)
    rotated = await keys.rotate(connection, issued.key, overlap_seconds=60)
    gone = await issue()
    await keys.revoke(connection, gone.key)
    answer = await operator.get("/v1/keys")
    shown = answer.json()["keys"]
    assert [key["name"] for key in shown] == sorted(["boss", issued.key.name, gone.key.name])
    (mine,) = [key for key in shown if key["id"] == issued.key.id]
    created = await factories.scalar(
        connection, "SELECT created_at FROM api_key ORDER BY id DESC OFFSET 1 LIMIT 1"
    )
    assert mine == {
        "id": issued.key.id,
        "name": issued.key.name,
        "role": "client",
        "limits": {
            "requestsPerMinute": 600,
            "syncLimit": 2,
            "queueCapacity": 9,
            "concurrency": 50,
            "weight": 1.0,
            "quotaDaily": None,
            "quotaMonthly": None,
            "coalesce": True,
        },
        "createdAt": rfc3339(created),
        "secrets": 2,
        "credits": None,
        "usage": {"depth": 0, "processing": 0, "syncRunning": 0},
    }
    assert (await keyed(operator, gone.key.name))["secrets"] == 0
    assert await expired(connection, issued.key.id) == 2
    assert (await keyed(operator, issued.key.name))["secrets"] == 0
    for secret in (issued.secret, rotated.secret, gone.secret):
        assert secret not in answer.text
        assert keys.digest(secret).hex() not in answer.text


async def expired(connection, key_id: int) -> int:
    cursor = await connection.execute(
        "UPDATE api_secret SET expires_at = now() - interval '1 second' WHERE key_id = %s", [key_id]
    )
    return cursor.rowcount


async def test_what_a_key_has_taken_is_what_its_snapshot_says(operator, client, worker):
    """Reserved and delayed places, children that run, sync places, at the same moment."""
    mine = await name(client)
    for fields in ({}, {"delay": 60}, {"priority": 9}):
        await submit(client, **fields)
    await worker.claim(slots=1)
    await submit(client)
    asked = {"jobs": 3, "surfaces": ["chatgpt"], "reserveSeconds": 60}
    await client.post("/v1/async/preflight", json=asked)
    for together in (8, 1):
        wait = {"Prefer": "wait=1"}
        calls = [client.post("/v1/search", json=BODY, headers=wait) for _ in range(together)]
        assert {answer.status_code for answer in await asyncio.gather(*calls)} == {202}
    snapshot = (await client.get("/v1/async/status")).json()
    assert (await keyed(operator, mine))["usage"] == {
        "depth": snapshot["admissionQueue"]["depth"],
        "processing": snapshot["concurrency"]["used"],
        "syncRunning": snapshot["syncConcurrency"]["running"],
    }
    assert snapshot["admissionQueue"]["depth"] == 5
    assert snapshot["syncConcurrency"]["running"] == 1


@pytest.mark.parametrize("path", FOR_OPERATORS)
async def test_without_a_key_it_is_a_401(anonymous, path):
    """As everywhere: the metrics are not public unless that is said."""
    answer = await anonymous.get(path)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "MISSING_API_KEY"


@pytest.mark.parametrize("path", FOR_OPERATORS)
async def test_each_costs_a_token(client, operator, path):
    """A client that is told there is no such path has paid for it, too."""
    for asking in (client, operator):
        left = [int((await asking.get(path)).headers["X-RateLimit-Remaining"]) for _ in range(2)]
        assert left[1] < left[0] < 600


async def test_the_metrics_count_cells_by_lane_and_state(operator, client, worker, connection):
    """Waiting, queued, retrying, processing; nothing of what has ended; over all keys."""
    for asking in (operator, client):
        await submit(asking)
    first, second, *_ = await worker.claim(slots=3)
    await children.settle(
        connection,
        [Completed(first, factories.CAPTURE, 200), Retry(second, factories.FAILURE, 60.0, 503)],
    )
    await submit(client, regions=["US"], surfaces=["site"])
    await submit(client, regions=["US"], surfaces=["site"], delay=60)
    seen = await samples(operator)
    us, gb, site = (
        cells(seen, *lane) for lane in (("chatgpt", "US"), ("chatgpt", "GB"), ("site", "US"))
    )
    assert [a + b for a, b in zip(us, gb, strict=True)] == [0, 1, 1, 1]
    assert site == [2, 0, 0, 0]
    assert seen[of("parallax_queue_parents", state="queued")] == 1
    assert seen[of("parallax_queue_parents", state="delayed")] == 1


async def test_the_metrics_say_what_lanes_and_processes_can_do(
    operator, client, worker, connection
):
    """The limit and the breaker of each lane; live nodes by kind, live workers by surface."""
    await submit(client)
    await connection.execute(
        "UPDATE lane SET concurrency = 7, open_until = now() + interval '1 minute'"
        " WHERE country = 'GB'"
    )
    await connection.execute(
        "UPDATE lane SET open_until = now() - interval '1 second' WHERE country = 'US'"
    )
    await factories.node(connection, surfaces=["site"])
    await factories.node(connection, surfaces=["site"], age_seconds=60)
    seen = await samples(operator)
    assert seen[of("parallax_lane_limit", surface="chatgpt", country="GB")] == 7
    assert seen[of("parallax_lane_breaker_open", surface="chatgpt", country="GB")] == 1
    assert seen[of("parallax_lane_breaker_open", surface="chatgpt", country="US")] == 0
    assert (seen[of("parallax_nodes", kind="worker")], seen[of("parallax_nodes", kind="api")]) == (
        2,
        1,
    )
    assert seen[of("parallax_surface_workers", surface="chatgpt")] == 1
    assert seen[of("parallax_surface_workers", surface="site")] == 2


async def test_a_surface_nobody_serves_has_no_workers(operator):
    """It is there with 0, so that an alarm can be set on it; so are nodes of both kinds."""
    seen = await samples(operator)
    assert seen[of("parallax_surface_workers", surface="chatgpt")] == 0
    assert seen[of("parallax_nodes", kind="worker")] == 0
    assert seen[of("parallax_sync_callers")] == 0


async def test_sync_callers_are_counted(operator, connection, registered):
    """Those who wait, at whatever process."""
    owner = await factories.key(connection)
    await factories.sync_parent(connection, owner, [await factories.lane(connection)])
    assert (await samples(operator))[of("parallax_sync_callers")] == 1


async def test_what_webhooks_were_not_told_is_counted(operator, connection):
    """Pending and dead deliveries of all keys: what an alarm is set on."""
    owner = await factories.key(connection)
    await telling.ended(connection, owner, await factories.lane(connection), n=3)
    (dead,) = await telling.claim(connection, telling.endpoint(owner), most=1)
    await telling.record(connection, [dead], "dead", 500)
    seen = await samples(operator)
    assert seen[of("parallax_deliveries", status="pending")] == 2
    assert seen[of("parallax_deliveries", status="dead")] == 1


def counted(seen) -> dict[tuple[str, str, str], float]:
    """Requests by method, route and status."""
    return {
        (labels["method"], labels["route"], labels["status"]): n
        for (metric, *pairs), n in seen.items()
        if metric == "parallax_http_requests_total" and (labels := dict(pairs))
    }


async def test_requests_are_counted_by_the_template_of_their_path(operator, anonymous):
    """By method, route and status; whoever invents methods and paths adds no series."""
    for job in ("a", "b", "c"):
        await operator.get(f"/v1/jobs/{job}")
    before = await samples(operator)
    for nonsense in ("x", "y", "z/z"):
        await anonymous.request("GET", f"/v2/{nonsense}")
        await anonymous.request(nonsense[:1].upper() * 4, f"/v1/{nonsense}")
        await operator.request(nonsense[:1].upper() * 4, "/v1/search")
    seen = await samples(operator)
    assert counted(seen)["GET", "/v1/jobs/{job}", "404"] == 3
    assert counted(before).get(("GET", "/metrics", "200")) is None, "it has not begun"
    new = {kind: n for kind, n in counted(seen).items() if kind not in counted(before)}
    assert new == {
        ("GET", "/metrics", "200"): 1,
        ("GET", "other", "404"): 3,
        ("other", "other", "404"): 3,
        ("other", "/v1/search", "405"): 3,
    }


async def test_requests_are_timed_by_route(operator, app):
    """Buckets that only grow, up to all there were, and their sum; refusals are timed too."""
    node = str(app.state["services"].presence.node_id)
    for _ in range(3):
        await operator.get("/v1/key")
    await operator.get("/v2/none")
    seen = await samples(operator)
    timed, mine = "parallax_http_request_seconds", {"node": node, "route": "/v1/key"}
    buckets = [seen[of(f"{timed}_bucket", le=bound, **mine)] for bound in BUCKETS]
    assert buckets == sorted(buckets)
    assert buckets[-1] == seen[of(f"{timed}_count", **mine)] == 3
    assert seen[of(f"{timed}_sum", **mine)] > 0
    assert of(f"{timed}_count", node=node, route="other") not in seen


async def test_metrics_are_prometheus_text(operator):
    """With its media type, and help and type for each family."""
    answer = await operator.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "# TYPE parallax_lane_cells gauge" in answer.text
    assert "# TYPE parallax_http_requests_total counter" in answer.text


class TestPublic:
    """Where `PARALLAX_METRICS_PUBLIC` is set."""

    @pytest.fixture
    def settings(self, database) -> Settings:
        return Settings(database_url=database, metrics_public=True)

    async def test_anybody_reads_the_metrics(self, anonymous):
        """Without a key, and then at nobody's cost."""
        answer = await anonymous.get("/metrics")
        assert answer.status_code == 200
        assert "X-RateLimit-Limit" not in answer.headers

    async def test_a_key_that_is_given_is_looked_at_and_pays(self, client, opened):
        """A client's is as good as any; one that is none is told so."""
        left = [
            int((await client.get("/metrics")).headers["X-RateLimit-Remaining"]) for _ in range(2)
        ]
        assert left[1] < left[0]
        async with opened("sk_live_" + "x" * 43) as unknown:
            assert (await unknown.get("/metrics")).status_code == 401

    async def test_the_rest_is_for_operators_still(self, client, anonymous):
        """Nodes and keys are not public."""
        for path in ("/v1/nodes", "/v1/keys"):
            assert (await client.get(path)).status_code == 404
            assert (await anonymous.get(path)).status_code == 401


async def test_processes_tell_their_own_requests(operator, settings, app):
    """Behind one address a scrape meets any of them: their series are apart by `node`."""
    await operator.get("/v1/key")
    secret = operator.headers["Authorization"].removeprefix("Bearer ")
    async with process(settings, secret) as other:
        seen = await samples(other)
    here = str(app.state["services"].presence.node_id)
    assert not [sample for sample in seen if ("node", here) in sample]
    assert counted(seen) == {}


@pytest.mark.parametrize(("text", "public"), [("1", True), ("true", True), ("0", False)])
def test_the_setting_is_a_yes_or_a_no(monkeypatch, text, public):
    """`PARALLAX_METRICS_PUBLIC=1` opens the metrics; without it they are closed."""
    monkeypatch.delenv("PARALLAX_METRICS_PUBLIC", raising=False)
    assert Settings().metrics_public is False
    monkeypatch.setenv("PARALLAX_METRICS_PUBLIC", text)
    assert Settings().metrics_public is public
