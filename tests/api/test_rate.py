"""The request rate over HTTP: who pays, what every response tells, and the refusal."""

import time
from contextlib import asynccontextmanager

import httpx
import pytest

from admission import keys
from orchestrator.api.app import create_app
from orchestrator.api.services import Services
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

UNKNOWN = "sk_live_" + "x" * 43
BODY = {"query": "shoes", "surfaces": ["chatgpt"]}


@asynccontextmanager
async def process(settings, secret):
    """A client of one more API process."""
    app = create_app(settings)
    async with (
        app.lifespan(),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://parallax.test",
            headers={"Authorization": f"Bearer {secret}"},
        ) as client,
    ):
        yield client


async def statuses(client, n) -> list[int]:
    return [(await client.get("/v1/jobs/x")).status_code for _ in range(n)]


def remaining(answer) -> int:
    return int(answer.headers["X-RateLimit-Remaining"])


@pytest.fixture
def rates(app):
    """The book of the application's process."""
    services: Services = app.state["services"]
    return services.rates


async def test_exactly_the_limit_is_served(registered, issue, opened):
    """Five a minute: five pass, whatever becomes of them, and the sixth is refused."""
    async with opened((await issue(requests_per_minute=5)).secret) as client:
        assert await statuses(client, 7) == [404] * 5 + [429] * 2


async def test_the_refusal_says_what_was_met_and_when_to_come_back(registered, issue, opened):
    """Code, details, Retry-After and the numbers of the other limits, as for every 429."""
    async with opened((await issue(requests_per_minute=2, sync_limit=3)).secret) as client:
        assert (await client.post("/v1/search", json=BODY)).status_code == 202
        assert await statuses(client, 1) == [404]
        answer = await client.get("/v1/async/status")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    seconds = error["details"].pop("retryAfterSeconds")
    assert error["details"] == {
        "limit": 2,
        "current": 2,
        "requested": 1,
        "watch": "requestRate",
    }
    assert 25 <= seconds <= 30
    assert answer.headers["Retry-After"] == str(seconds)
    trio = [answer.headers[f"X-Concurrency-{name}"] for name in ("Limit", "Running", "Queued")]
    assert trio == ["3", "0", "1"]
    assert remaining(answer) == 0


async def test_those_refused_together_come_back_apart(registered, issue, opened):
    """The n-th is told the n-th token's time: at 20 a minute one every three seconds."""
    async with opened((await issue(requests_per_minute=20)).secret) as client:
        assert await statuses(client, 20) == [404] * 20
        told = [int((await client.get("/v1/jobs/x")).headers["Retry-After"]) for _ in range(8)]
    assert told == sorted(told)
    assert told[0] <= 3
    assert told[-1] >= 18


async def test_the_rate_comes_after_the_key_and_before_the_body(registered, issue, opened):
    """A bad key is a 401 at any rate; a bad body of a key whose rate is used up is a 429."""
    async with opened((await issue(requests_per_minute=1)).secret) as client:
        assert (await client.post("/v1/search", json={})).status_code == 400
        assert (await client.post("/v1/search", json={})).status_code == 429
        answer = await client.post("/v1/search", headers={"Authorization": f"Bearer {UNKNOWN}"})
        assert answer.status_code == 401
        assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


async def test_every_authenticated_request_costs_one_token(registered, issue, opened):
    """Served or not: right, wrong, unknown job, another method."""
    async with opened((await issue(requests_per_minute=6)).secret) as client:
        answers = [
            await client.post("/v1/search", json=BODY),
            await client.post("/v1/search", json={}),
            await client.get("/v1/jobs/x"),
            await client.put("/v1/search"),
            await client.get("/v1/surfaces"),
        ]
    assert [remaining(answer) for answer in answers] == [5, 4, 3, 2, 1]
    assert [answer.headers["X-RateLimit-Limit"] for answer in answers] == ["6"] * 5


async def test_health_and_schema_cost_none(issue, opened, registered):
    """They need no key, and one that comes along pays nothing."""
    async with opened((await issue(requests_per_minute=1)).secret) as client:
        for path in ("/v1/health", "/schema/openapi.json"):
            assert (await client.get(path)).status_code == 200
        assert await statuses(client, 2) == [404, 429]
        assert (await client.get("/v1/health")).status_code == 200


async def test_reset_says_when_all_are_there_again(registered, issue, opened):
    """In epoch seconds: at 6 a minute ten seconds for each token that was taken."""
    async with opened((await issue(requests_per_minute=6)).secret) as client:
        for taken in (1, 2, 3):
            before = time.time()
            answer = await client.get("/v1/surfaces")
            reset = int(answer.headers["X-RateLimit-Reset"])
            assert before + 10 * (taken - 1) < reset <= time.time() + 10 * taken + 1


async def test_keys_do_not_spend_each_others_tokens(registered, issue, opened):
    """One key that is refused slows no other."""
    one, other = await issue(requests_per_minute=1), await issue(requests_per_minute=2)
    async with opened(one.secret) as first, opened(other.secret) as second:
        assert await statuses(first, 2) == [404, 429]
        assert await statuses(second, 3) == [404, 404, 429]


async def test_two_secrets_of_a_key_share_its_rate(registered, connection, issue, opened):
    """The key is the account."""
    issued = await issue(requests_per_minute=2)
    again = await keys.rotate(connection, issued.key, overlap_seconds=60)
    async with opened(issued.secret) as first, opened(again.secret) as second:
        assert await statuses(first, 1) == [404]
        assert await statuses(second, 1) == [404]
        assert await statuses(first, 1) == [429]


async def test_the_rate_holds_over_two_processes(registered, connection, issue, settings, opened):
    """Refused by one is refused by the other; a refusal costs nothing anywhere."""
    issued = await issue(requests_per_minute=5)
    async with opened(issued.secret) as here, process(settings, issued.secret) as there:
        assert await statuses(here, 5) == [404] * 5
        assert await statuses(there, 20) == [429] * 20
        await connection.execute("UPDATE rate_bucket SET filled_at = filled_at - 12.5")
        async with process(settings, issued.secret) as third:
            assert await statuses(third, 2) == [404, 429]


async def test_a_changed_limit_is_in_force_within_seconds(registered, connection, issue, opened):
    """Also for a key that is being refused."""
    issued = await issue(requests_per_minute=1)
    async with opened(issued.secret) as client:
        assert await statuses(client, 2) == [404, 429]
        limits = issued.key.limits._replace(requests_per_minute=6000)
        await keys.set_limits(connection, issued.key, limits)

        async def served():
            return await statuses(client, 1) == [404]

        await eventually(served, seconds=5)
        assert (await client.get("/v1/surfaces")).headers["X-RateLimit-Limit"] == "6000"


async def test_without_its_database_a_process_says_so(registered, app, issue, opened):
    """No token at hand and none to be had is a 503, not a refusal; it tells what is known."""
    here: Services = app.state["services"]
    async with opened((await issue(requests_per_minute=9)).secret) as client:
        node, here.presence._node_id = here.presence._node_id, None
        answer = await client.get("/v1/jobs/x")
        here.presence._node_id = node
        assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
        assert "Retry-After" in answer.headers
        assert answer.headers["X-RateLimit-Limit"] == "9"
        assert await statuses(client, 1) == [404]


async def test_a_process_that_is_leaving_says_so(registered, rates, issue, opened):
    """What it holds is given back; the client goes to another."""
    async with opened((await issue()).secret) as client:
        assert await statuses(client, 1) == [404]
        rates.close()

        async def leaving():
            return (await client.get("/v1/jobs/x")).status_code == 503

        await eventually(leaving)
