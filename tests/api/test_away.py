"""The database goes away and comes back: what those who ask are told, and those who wait."""

import asyncio
from contextlib import asynccontextmanager

import psycopg
import pytest
from structlog.testing import capture_logs

from orchestrator.store import children, nodes
from orchestrator.store.children import Completed
from orchestrator.store.nodes import NewNode
from tests.api.conftest import Worker
from tests.api.streaming import listening
from tests.api.test_sync import CAPTURE
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

BOUND_SECONDS = 15
"""Within which everybody has their answer, and the first good one comes after the return."""
BODY = {"query": "shoes", "surfaces": ["chatgpt"]}
JOB = "/v1/jobs/job_06h00r4h1trtr7pjt7b69j1f04"
ASKED = [
    ("GET", "/v1/health", None),
    ("GET", "/v1/async/status", None),
    ("GET", "/v1/async/status/stream", None),
    ("GET", "/v1/surfaces", None),
    ("GET", "/v1/jobs", None),
    ("GET", JOB, None),
    ("GET", f"{JOB}?wait=30", None),
    ("GET", f"{JOB}/results", None),
    ("GET", f"{JOB}/events", None),
    ("POST", f"{JOB}/cancel", None),
    ("POST", "/v1/search", BODY),
    ("POST", "/v1/search?mode=sync", BODY),
    ("POST", "/v1/search/batch", {"items": [BODY]}),
    ("POST", "/v1/async/preflight", {"jobs": 1, "surfaces": ["chatgpt"]}),
    ("DELETE", "/v1/async/queue", None),
]


@pytest.fixture
async def key(registered, issue):
    """A key that may ask as often as it likes."""
    return await issue(requests_per_minute=100_000, sync_limit=50)


@pytest.fixture
async def client(opened, key):
    async with opened(key.secret) as made:
        yield made


async def ask(client, n, *, method="GET", path="/v1/async/status", body=None):
    """So many at once; they have their answers in bounded time."""
    async with asyncio.timeout(BOUND_SECONDS):
        return await asyncio.gather(*(client.request(method, path, json=body) for _ in range(n)))


async def unserved(client):
    return (await client.get("/v1/async/status")).status_code == 503


async def served(client):
    return (await client.get("/v1/async/status")).status_code == 200


def said_away(answers):
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
        assert 1 <= int(answer.headers["Retry-After"]) <= 60


def faults(logs):
    return [line for line in logs if line["log_level"] in {"error", "critical"}]


@asynccontextmanager
async def working(database):
    """A worker that comes with the database."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        new = NewNode(host="test", pid=1, slots=100, surfaces=["chatgpt"])
        yield Worker(connection, await nodes.register(connection, new))


async def end(database):
    """End what there is, completed."""
    async with working(database) as worker:
        fences = await eventually(worker.claim)
        done = [Completed(fence, CAPTURE, 200) for fence in fences]
        await children.settle(worker.connection, done)


async def test_ended_sessions_are_nobodys_problem(client, outage):
    """All connections are killed while they idle, twice: whoever asks next is served."""
    for _ in range(2):
        assert {answer.status_code for answer in await ask(client, 40)} == {200}
        outage.end_sessions()
        answers = await ask(client, 40)
        answers += await ask(client, 10, method="POST", path="/v1/search", body=BODY)
        assert {answer.status_code for answer in answers} == {200, 202}


async def test_every_request_is_a_503_while_the_database_is_away(client, outage):
    """In bounded time, a crowd too, and nothing of it is logged as a fault; then all goes on."""
    assert await served(client)
    with capture_logs() as logs:
        outage.go()
        said_away(await ask(client, 1000))
        for method, path, body in ASKED:
            said_away(await ask(client, 3, method=method, path=path, body=body))
        outage.come_back()
        await eventually(lambda: served(client), seconds=BOUND_SECONDS)
    assert faults(logs) == []
    answers = await ask(client, 20, method="POST", path="/v1/search", body=BODY)
    assert {answer.status_code for answer in answers} == {202}


async def test_a_crowd_without_a_key_that_is_remembered_is_told_together(opened, key, outage):
    """Nobody waits for the time-outs of those before them."""
    async with opened(key.secret) as client:
        outage.go()
        said_away(await ask(client, 200))


async def test_a_database_that_only_reads_is_a_503_until_it_writes(client, outage):
    """Demoted, promoted: no request is a 500, and nothing is left that only reads."""
    assert await served(client)
    with capture_logs() as logs:
        outage.only_read()
        said_away(await ask(client, 20, method="POST", path="/v1/search", body=BODY))
        outage.write_again()
        await eventually(lambda: served(client), seconds=BOUND_SECONDS)
    assert faults(logs) == []
    answers = await ask(client, 20, method="POST", path="/v1/search", body=BODY)
    assert {answer.status_code for answer in answers} == {202}


async def test_with_all_connections_taken_those_there_are_serve(client, outage):
    """The pool cannot grow: who asks waits their turn."""
    assert await served(client)
    outage.shut()
    assert {answer.status_code for answer in await ask(client, 100)} == {200}
    outage.come_back()


async def test_who_waits_waits_through_an_outage(app, client, key, database, outage):
    """A sync caller has its 200, a long poll its change and a stream its end, once it is over."""
    job = (await client.post("/v1/search", json=BODY)).json()["jobId"]
    async with listening(app, key.secret, f"/v1/jobs/{job}/events") as listener:
        await listener.started()
        waiting = [
            asyncio.create_task(client.post("/v1/search?mode=sync", json=BODY)),
            asyncio.create_task(client.get(f"/v1/jobs/{job}?wait=60")),
        ]
        here = app.state["services"]
        await eventually(lambda: all_wait(here))
        outage.go()
        await eventually(lambda: unserved(client))
        outage.come_back()
        await end(database)
        answer, polled = await asyncio.gather(*waiting)
        told = await listener.rest()
    assert answer.status_code == 200
    assert answer.json()["job"]["status"] == "completed"
    assert polled.status_code == 200
    assert told[-1].name == "parent"
    assert told[-1].data["status"] == "completed"


async def all_wait(here):
    return len(here.jobs) == 2 and await stored(here)


async def test_a_caller_whose_job_cannot_be_read_is_told_where_it_is(client, app, outage):
    """503 with `Location` and `jobId`: a plain retry would make a second job."""
    call = asyncio.create_task(client.post("/v1/search", json=BODY, headers={"Prefer": "wait=60"}))
    here = app.state["services"]
    await eventually(lambda: stored(here))
    outage.go()
    await eventually(lambda: unserved(client))
    here.waits.release()
    answer = await call
    said_away([answer])
    job = answer.json()["error"]["details"]["jobId"]
    assert answer.headers["Location"] == f"/v1/jobs/{job}"
    assert "plain retry makes a second job" in answer.json()["error"]["message"]


async def stored(here):
    return [wait for held in here.waits._held.values() for wait in held if wait.stored]


async def test_a_statement_cut_short_by_a_conflict_is_a_503(client, connection):
    """A deadlock or a lock that took too long says nothing of the request: come back."""
    await connection.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40P01'; END $$"
    )
    await connection.execute(
        "CREATE TRIGGER failing BEFORE INSERT ON parent EXECUTE FUNCTION fail()"
    )
    with capture_logs() as logs:
        said_away(await ask(client, 3, method="POST", path="/v1/search", body=BODY))
    assert faults(logs) == []
