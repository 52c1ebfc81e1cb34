"""Waiting for the answer in the same call."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest

from orchestrator.api.app import create_app
from orchestrator.api.regions import countries
from orchestrator.domain.envelope import Answer, Capture, Evidence, Provenance, Seen
from orchestrator.settings import Settings
from orchestrator.store import children
from orchestrator.store.children import Completed
from tests import factories
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

BODY = {"query": "shoes", "surfaces": ["chatgpt"]}
FLAT = {"surface", "region", "status", "text", "markdown", "sources"}
TWO = {"query": "shoes", "surfaces": ["chatgpt", "site"]}
CAPTURE = msgspec.json.encode(
    Capture(
        answer=Answer(text="boots", markdown="boots"),
        evidence=Evidence(),
        provenance=Provenance(adapter="simulator", method="simulator", region=Seen(requested="US")),
    )
).decode()


async def work(worker, *, most=100):
    """Complete what is queued, once there is something; how many."""
    fences = await eventually(lambda: worker.claim(most))
    await children.settle(worker.connection, [Completed(fence, CAPTURE, 200) for fence in fences])
    return len(fences)


@asynccontextmanager
async def asking(client, path="/v1/search?mode=sync", body=BODY, **headers):
    """A call under way; it must have ended when the block does."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with asyncio.TaskGroup() as tasks:
        yield tasks.create_task(client.post(path, json=body, headers=named))


async def status(client):
    return (await client.get("/v1/async/status")).json()


async def modes(connection):
    return await factories.scalar(connection, "SELECT array_agg(mode) FROM parent")


async def test_one_cell_is_answered_with_its_envelope(client, worker):
    """200 is the child's Envelope, as a read of it would give."""
    async with asking(client) as call:
        assert await work(worker) == 1
    answer = call.result()
    assert answer.status_code == 200
    envelope = answer.json()
    assert envelope["answer"]["text"] == "boots"
    assert envelope["job"]["status"] == "completed"
    read = await client.get(f"/v1/jobs/{envelope['job']['id']}")
    assert read.json() == envelope
    parent = envelope["job"]["id"].partition(".")[0]
    assert answer.headers["Location"] == f"/v1/jobs/{parent}"


async def test_several_cells_are_answered_with_the_job_and_all_envelopes(client, worker):
    """200 is `{job, children}`, children in cell order."""
    async with asking(client, body=TWO) as call:
        assert await work(worker) == 2
    told = call.result().json()
    assert told.keys() == {"job", "children"}
    assert told["job"]["status"] == "completed"
    assert [child["job"]["surface"] for child in told["children"]] == ["chatgpt", "site"]


@pytest.mark.parametrize(("body", "keys"), [(BODY, FLAT), (TWO, {"results"})])
async def test_a_flat_view_is_the_text_alone(client, worker, body, keys):
    """`?view=flat` works for a sync answer as for a read."""
    async with asking(client, "/v1/search?mode=sync&view=flat", body) as call:
        await work(worker)
    assert call.result().json().keys() == keys


async def test_a_failed_cell_is_an_answer_too(client, worker):
    """A job that ended is a 200, whatever its end: the Envelope says so."""
    async with asking(client) as call:
        fences = await eventually(worker.claim)
        outcomes = [children.Failed(fence, factories.FAILURE, 503) for fence in fences]
        await children.settle(worker.connection, outcomes)
    answer = call.result()
    assert answer.status_code == 200
    assert answer.json()["job"]["status"] == "failed"
    assert answer.json()["job"]["error"]["code"] == "UPSTREAM_STATUS"


async def test_a_surface_has_a_path_that_waits(client, worker):
    """`POST /v1/search/{surface}` takes a prompt and a country, and answers in the same call."""
    body = {"prompt": "shoes", "country": "gb", "city": "London", "language": "en"}
    async with asking(client, "/v1/search/chatgpt", body) as call:
        await work(worker)
    told = call.result().json()["job"]
    assert (told["query"], told["surface"]) == ("shoes", "chatgpt")
    assert (told["region"], told["city"], told["language"]) == ("GB", "London", "en")


async def test_the_surface_path_may_answer_at_once(client):
    """`?mode=async` and `Prefer: respond-async` turn it into a 202."""
    answer = await client.post("/v1/search/chatgpt?mode=async", json={"prompt": "a"})
    assert answer.status_code == 202
    headers = {"Prefer": "respond-async"}
    answer = await client.post("/v1/search/chatgpt", json={"prompt": "a"}, headers=headers)
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "respond-async"


async def test_an_unknown_surface_in_the_path_is_a_400_that_lists_what_exists(client):
    """As in the body of `/v1/search`."""
    answer = await client.post("/v1/search/altavista", json={"prompt": "a"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "UNSUPPORTED_SURFACE"
    assert "chatgpt" in answer.json()["error"]["message"]


async def test_the_end_of_a_preferred_wait_is_a_202_with_the_job_so_far(client, worker, connection):
    """It has the body of a job read, where to look, when, and which preference was followed."""
    async with asking(client, "/v1/search", TWO, Prefer="respond-async, wait=1") as call:
        assert await work(worker, most=1) == 1
    answer = call.result()
    assert answer.status_code == 202
    told = answer.json()
    job = told["job"]["id"]
    assert answer.headers["Location"] == f"/v1/jobs/{job}"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["Preference-Applied"] == "respond-async, wait=1"
    assert sorted(child["status"] for child in told["children"]) == ["completed", "queued"]
    assert (await client.get(f"/v1/jobs/{job}")).json() == told
    assert await modes(connection) == ["detached"]


async def test_the_end_of_a_sync_wait_is_a_504_that_names_the_job(
    issue, registered, opened, database
):
    """`SURFACE_TIMEOUT` says what to do; the job goes on, detached, and its place is free."""
    secret = (await issue(sync_limit=1)).secret
    settings = Settings(database_url=database, sync_wait=0.1)
    async with served(settings) as app, client_of(app, secret) as client:
        for path in ("/v1/search?mode=sync", "/v1/search/chatgpt"):
            body = BODY if path.endswith("sync") else {"prompt": "shoes"}
            answer = await client.post(path, json=body)
            assert answer.status_code == 504
            error = answer.json()["error"]
            job = error["details"]["jobId"]
            assert error["code"] == "SURFACE_TIMEOUT"
            assert answer.headers["Location"] == f"/v1/jobs/{job}"
            assert "plain retry makes a second job" in error["message"]
            assert (await client.get(f"/v1/jobs/{job}")).json()["job"]["status"] == "processing"


async def test_more_cells_than_can_be_waited_for_are_a_400(client):
    """The message says to submit it async; as an async job it is welcome."""
    body = {"query": "a", "surfaces": ["chatgpt"], "regions": [*some_countries(21)]}
    for headers in ({"Prefer": "wait=5"}, {}):
        path = "/v1/search" if headers else "/v1/search?mode=sync"
        answer = await client.post(path, json=body, headers=headers)
        assert answer.status_code == 400
        (fault,) = answer.json()["error"]["details"]
        assert "submit it async" in fault["message"]
    assert (await client.post("/v1/search", json=body)).status_code == 202


async def test_a_caller_beyond_the_limit_is_refused_with_all_it_needs_to_know(
    issue, registered, opened, worker
):
    """429 `CONCURRENCY_LIMIT_EXCEEDED`: details, Retry-After, the trio; the snapshot agrees."""
    async with opened((await issue(sync_limit=1)).secret) as client:
        async with asking(client) as call:
            await eventually(lambda: running(worker, 1))
            assert (await status(client))["headroom"]["sync"] == 0
            refused = await client.post("/v1/search?mode=sync", json=BODY)
            await work(worker)
        assert call.result().status_code == 200
        assert refused.status_code == 429
        error, headers = refused.json()["error"], refused.headers
        assert error["code"] == "CONCURRENCY_LIMIT_EXCEEDED"
        seconds = error["details"].pop("retryAfterSeconds")
        assert error["details"] == {
            "limit": 1,
            "current": 1,
            "requested": 1,
            "watch": "syncConcurrency",
        }
        assert headers["Retry-After"] == str(seconds)
        assert headers["X-Concurrency-Limit"] == "1"
        assert headers["X-Concurrency-Running"] == "1"
        assert headers["X-Concurrency-Queued"] == "0"


async def test_the_place_is_free_before_the_answer_is_read(issue, registered, opened, worker):
    """With one place, one call after the other is served and never refused."""
    async with opened((await issue(sync_limit=1)).secret) as client:
        for _ in range(5):
            async with asking(client) as call:
                await work(worker)
            assert call.result().status_code == 200
            assert (await status(client))["syncConcurrency"] == {"limit": 1, "running": 0}


async def test_a_caller_who_hangs_up_detaches_and_loses_nothing(app, client, worker, connection):
    """The place is free, the job goes on to its end, once."""
    left = asyncio.Event()
    sent = []
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(raw(app, client, left, sent))
        await eventually(lambda: running(worker, 1))
        left.set()
        await call
    assert [message for message in sent if message.get("body")] == []
    assert (await status(client))["syncConcurrency"]["running"] == 0
    assert await modes(connection) == ["detached"]
    assert await work(worker) == 1
    statement = "SELECT array_agg(state) FROM parent"
    assert await factories.scalar(connection, statement) == ["completed"]


async def test_an_interrupted_handler_gives_its_place_back(app, client, worker, connection):
    """A process that cancels its handlers as it stops leaves no caller behind."""
    call = asyncio.create_task(raw(app, client, asyncio.Event(), []))
    await eventually(lambda: running(worker, 1))
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    # Interrupted as its submission is answered it does not know of its place, which is swept.
    await eventually(lambda: running(worker, 0), seconds=40)
    assert await modes(connection) == ["detached"]


@pytest.mark.parametrize(
    ("path", "prefer"), [("/v1/search", {"Prefer": "wait=60"}), ("/v1/search?mode=sync", {})]
)
async def test_those_who_wait_are_let_go_when_the_server_leaves(app, client, worker, path, prefer):
    """Once waits are released a waiting caller is told where to look, however it asked."""
    async with asking(client, path, BODY, **prefer) as call:
        await eventually(lambda: running(worker, 1))
        app.state["services"].waits.release()
    assert call.result().status_code == 202
    assert call.result().headers["Location"] == f"/v1/jobs/{call.result().json()['job']['id']}"


async def test_a_caller_still_to_be_admitted_is_not_taken_for_one_whose_job_is_gone(
    app, client, connection, worker
):
    """A look for ended jobs while an admission takes long ends no wait before its time."""
    waits = app.state["services"].waits

    async def expected():
        return len(waits)

    async with asyncio.TaskGroup() as tasks:
        async with connection.transaction():
            await connection.execute("SELECT FROM usage FOR UPDATE")
            call = tasks.create_task(client.post("/v1/search?mode=sync", json=BODY))
            await eventually(expected)
            await waits._look_once()
        await work(worker)
    assert call.result().status_code == 200


async def test_it_works_by_polling_alone(registered, issue, database, worker):
    """Without a connection to listen on the answer comes within a poll."""
    settings = Settings(database_url=database, listen_url="postgresql://nobody@127.0.0.1:1/none")
    async with served(settings) as app, client_of(app, (await issue()).secret) as client:
        async with asking(client) as call:
            await work(worker)
        assert call.result().status_code == 200


async def test_a_dead_lane_is_a_503_and_stores_nothing(client, connection):
    """`SURFACE_UNAVAILABLE` when every lane of the call is cut off beyond its wait."""
    for country, seconds in (("US", 50), ("GB", 40)):
        lane = await factories.lane(connection, country)
        statement = "UPDATE lane SET open_until = now() + %s * interval '1 second' WHERE id = %s"
        await connection.execute(statement, [seconds, lane])
    body = {"query": "a", "surfaces": ["chatgpt"], "regions": ["US", "GB"]}
    wait = {"Prefer": "wait=5"}
    answer = await client.post("/v1/search", json=body, headers=wait)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "SURFACE_UNAVAILABLE"
    assert 30 <= int(answer.headers["Retry-After"]) <= 40
    assert await factories.scalar(connection, "SELECT count(*) FROM parent") == 0
    assert (await client.post("/v1/search", json=body)).status_code == 202


async def test_one_lane_alive_or_a_wait_long_enough_is_worth_it(client, connection):
    """Only a call that could not but wait in vain is turned away."""
    lane = await factories.lane(connection)
    await connection.execute(
        "UPDATE lane SET open_until = now() + interval '1.5 seconds' WHERE id = %s", [lane]
    )
    wide = {"query": "a", "surfaces": ["chatgpt", "site"]}
    answers = await asyncio.gather(
        client.post("/v1/search", json=wide, headers={"Prefer": "wait=1"}),
        client.post("/v1/search", json=BODY, headers={"Prefer": "wait=2"}),
    )
    assert [answer.status_code for answer in answers] == [202, 202]


async def test_asynchronous_work_does_not_take_the_sync_budget_nor_the_other_way(
    issue, registered, opened
):
    """A full queue refuses no sync call, and taken sync places refuse no submission."""
    async with opened((await issue(queue_capacity=1, sync_limit=1)).secret) as client:
        wait = {"Prefer": "wait=1"}
        assert (await client.post("/v1/search", json=BODY)).status_code == 202
        assert (await client.post("/v1/search", json=BODY)).status_code == 429
        assert (await client.post("/v1/search", json=BODY, headers=wait)).status_code == 202


def some_countries(n):
    return sorted(countries())[:n]


async def running(worker, n):
    """Whether so many callers have a place, asked of the database: asking the API costs tokens."""
    return await factories.scalar(worker.connection, "SELECT count(*) FROM sync_wait") == n


async def raw(app, client, left, sent):
    """A sync call to the application itself, whose caller hangs up when `left` is set."""
    body = [{"type": "http.request", "body": b'{"query": "a", "surfaces": ["chatgpt"]}'}]

    async def receive():
        if body:
            return body.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/search",
        "raw_path": b"/v1/search",
        "root_path": "",
        "query_string": b"mode=sync",
        "headers": [(b"authorization", client.headers["Authorization"].encode())],
        "scheme": "http",
        "server": ("parallax.test", 80),
        "client": ("127.0.0.1", 1),
        "state": {},
    }
    await app(scope, receive, send)


@asynccontextmanager
async def served(settings):
    """An application of its own."""
    made = create_app(settings)
    async with made.lifespan():
        yield made


def client_of(app, secret):
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://parallax.test",
        headers={"Authorization": f"Bearer {secret}"},
    )
