"""A client of AsyncQueue that changed its base URL."""

import re

import pytest

from orchestrator import configuration
from orchestrator.fanout import fan_out
from orchestrator.store import steering, surfaces
from tests import factories
from tests.api import dialects

pytestmark = pytest.mark.anyio
TASK = {"queue": "emails", "webhook_url": "https://a.example/work", "payload": {"to": "ann"}}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
CREATED = ["id", "queue", "status", "priority", "delay", "created_at"]


@pytest.fixture
async def registered(connection):
    await surfaces.register(connection, list(dialects.SURFACES))
    await factories.node(connection, surfaces=dialects.NAMES)


async def make(client, **fields):
    answer = await client.post("/v1/tasks", json=TASK | fields)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def read(client, task):
    answer = await client.get(f"/v1/tasks/{task}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_task_is_made(client):
    """201, with its defaults, in their order."""
    answer = await client.post("/v1/tasks", json=TASK)
    said = answer.json()
    assert answer.status_code == 201
    assert list(said) == CREATED
    assert re.fullmatch("task_[0-9a-v]{26}", said["id"])
    assert said | {"id": 0, "created_at": 0} == {
        "id": 0,
        "queue": "emails",
        "status": "pending",
        "priority": 5,
        "delay": 0,
        "created_at": 0,
    }
    assert TIME.fullmatch(said["created_at"])


async def test_a_task_is_read_with_what_became_of_it(client, connection):
    """pending, active, pending between attempts, completed; each call that is over is told."""
    task = await make(client, delay=2.5, priority=9)
    said = await read(client, task)
    assert list(said) == [*CREATED, "payload", "attempts", "completed_at"]
    assert (said["status"], said["delay"], said["priority"]) == ("pending", 2.5, 9)
    assert (said["payload"], said["attempts"], said["completed_at"]) == ({"to": "ann"}, [], None)
    await connection.execute("UPDATE parent SET state = 'queued'")
    await fan_out(connection)
    (child,) = await dialects.claimed(connection)
    active = await read(client, task)
    assert (active["status"], active["attempts"]) == ("active", [])
    await factories.settle(connection, factories.retried(child, delay_seconds=60))
    between = await read(client, task)
    assert between["status"] == "pending"
    assert between["attempts"] == [
        {
            "number": 1,
            "status": "failed",
            "response_code": 500,
            "executed_at": between["attempts"][0]["executed_at"],
        }
    ]
    assert TIME.fullmatch(between["attempts"][0]["executed_at"])
    await connection.execute("UPDATE child SET state = 'queued', run_at = NULL")
    await dialects.end(connection, code=204)
    ended = await read(client, task)
    assert ended["status"] == "completed"
    told = [(one["number"], one["status"], one["response_code"]) for one in ended["attempts"]]
    assert told == [(1, "failed", 500), (2, "success", 204)]
    assert TIME.fullmatch(ended["completed_at"])


async def test_a_task_whose_calls_are_used_up_has_failed(client, connection):
    """Also one that was canceled by another way."""
    failed, canceled = await make(client), await make(client, queue="Other.queue-1")
    await fan_out(connection)
    await dialects.fail(connection)
    assert (await read(client, failed))["status"] == "failed"
    other = await make(client)
    job = other.replace("task_", "job_")
    await client.post(f"/v1/jobs/{job}/cancel")
    said = await read(client, other)
    assert (said["status"], said["attempts"]) == ("failed", [])
    assert TIME.fullmatch(said["completed_at"])
    assert (await read(client, canceled))["queue"] == "Other.queue-1"


@pytest.mark.parametrize("started", [False, True])
async def test_a_task_that_expired_has_failed(client, connection, started):
    """It was never called, and is not any more."""
    task = await make(client)
    if started:
        await fan_out(connection)
    await connection.execute("UPDATE parent SET deadline_at = now() - interval '1 second'")
    await steering.expire(connection)
    said = await read(client, task)
    assert (said["status"], said["attempts"]) == ("failed", [])
    assert TIME.fullmatch(said["completed_at"])


async def test_a_call_that_nobody_answered_has_no_code(client, connection):
    """`response_code` is null, not left out."""
    task = await make(client)
    await fan_out(connection)
    await dialects.fail(connection, code=None)
    (attempt,) = (await read(client, task))["attempts"]
    assert list(attempt) == ["number", "status", "response_code", "executed_at"]
    assert (attempt["status"], attempt["response_code"]) == ("failed", None)


async def test_the_call_is_all_that_is_told_of_a_task(client, connection):
    """No delivery is stored of how it ended, whichever way."""
    for end in (dialects.end, dialects.fail):
        await make(client)
        await fan_out(connection)
        await end(connection)
    canceled = await make(client)
    await client.post(f"/v1/jobs/{canceled.replace('task_', 'job_')}/cancel")
    assert await factories.scalar(connection, "SELECT count(*) FROM delivery") == 0
    assert (await client.get("/v1/webhooks/deliveries")).json()["deliveries"] == []


async def test_a_task_that_is_to_run_again_is_pending(client, connection):
    """Retried natively, in one more run: what it was before is not told of it any more."""
    task = await make(client)
    await fan_out(connection)
    await dialects.fail(connection)
    again = await client.post(f"/v1/jobs/{task.replace('task_', 'job_')}/retry")
    assert again.status_code == 202
    said = await read(client, task)
    assert (said["status"], said["attempts"], said["completed_at"]) == ("pending", [], None)
    listed = (await client.get("/v1/tasks?status=pending")).json()["tasks"]
    assert [one["status"] for one in listed] == ["pending"]


async def test_a_queue_runs_on_its_own_or_on_the_one_of_all_others(client):
    """What is configured has lanes of its own; the region of every task is GLOBAL."""
    for queue in ("emails", "Emails", "x.y", "default", "q" * 64):
        await make(client, queue=queue)
    flight = (await client.get("/v1/async/status")).json()["inflight"]
    assert flight["bySurface"] == {"queue_default": 4, "queue_emails": 1}
    assert flight["byRegion"] == {"GLOBAL": 5}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "queue: This field is required."),
        (TASK | {"queue": "-x"}, "queue: "),
        (TASK | {"queue": "q" * 65}, "queue: "),
        (TASK | {"webhook_url": "http://127.0.0.1/"}, "webhook_url: "),
        (TASK | {"webhook_url": 7}, "webhook_url: Must be text."),
        (TASK | {"payload": "a\u0000"}, "payload: "),
        (TASK | {"delay": -1}, "delay: At least 0."),
        (TASK | {"priority": 0}, "priority: At least 1."),
        (TASK | {"max_retries": 10}, "max_retries: At most 9."),
        (TASK | {"retries": 1}, "retries: Unknown field"),
    ],
)
async def test_what_is_wrong_is_said(client, body, said):
    """400 with a native code, every fault in the message."""
    answer = await client.post("/v1/tasks", json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert list(answer.json()) == ["error"]
    assert list(error) == ["code", "message"]
    assert error["code"] == "VALIDATION_FAILED"
    assert said in error["message"]
    assert (await client.get("/v1/tasks")).json()["pagination"]["total"] == 0


async def test_retries_are_one_less_than_attempts(client, connection):
    """Its own number, or the queue's."""
    await make(client, max_retries=0)
    await make(client)
    found = "SELECT array_agg(payload ->> 'max_attempts' ORDER BY id) FROM parent"
    assert await factories.scalar(connection, found) == ["1", None]


def test_a_queue_of_which_nothing_is_said_tries_four_times(tmp_path):
    """3 retries, each call 30 s: of one that is configured, and of the one of all others."""
    path = tmp_path / "parallax.toml"
    path.write_text("[queues.emails]")
    for queue in configuration.load(path).surfaces.values():
        assert (queue.attempts, queue.timeout_seconds, queue.rate) == (4, 30.0, None)


async def test_a_payload_is_any_json(client):
    """And comes back as it was."""
    for payload in ([1, {"a": [None, True]}], "text", 1.5, None, {}, 10**30):
        task = await make(client, payload=payload)
        assert (await read(client, task))["payload"] == payload
    bare = {name: field for name, field in TASK.items() if name != "payload"}
    answer = await client.post("/v1/tasks", json=bare)
    assert (await read(client, answer.json()["id"]))["payload"] is None


async def test_the_same_task_sent_again_is_the_same_task(client):
    """Under the header's key: 201 with the same id; another body is a conflict."""
    headers = {"Idempotency-Key": "k"}
    first = await client.post("/v1/tasks", json=TASK, headers=headers)
    again = await client.post("/v1/tasks", json=TASK, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    other = await client.post("/v1/tasks", json=TASK | {"priority": 1}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    broken = await client.post("/v1/tasks", json=TASK, headers={"Idempotency-Key": "\x01"})
    assert broken.status_code == 400


async def listed(client, query=""):
    answer = await client.get(f"/v1/tasks{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_tasks_are_listed_newest_first(client, connection):
    """Of a queue, with a status, page by page; native jobs are no tasks."""
    ended = [await make(client, queue="emails") for _ in range(2)]
    await fan_out(connection)
    await dialects.end(connection)
    active = await make(client, queue="emails")
    await fan_out(connection)
    await dialects.claimed(connection)
    ready = await make(client, queue="other")
    await fan_out(connection)
    waiting = await make(client, queue="emails")
    delayed = await make(client, queue="other", delay=60)
    await client.post("/v1/search", json={"query": "q", "surfaces": ["chatgpt"]})
    every = [delayed, waiting, ready, active, *reversed(ended)]
    said = await listed(client)
    assert [one["id"] for one in said["tasks"]] == every
    assert list(said["tasks"][0]) == CREATED
    assert said["pagination"] == {"total": 6, "limit": 20, "offset": 0, "hasMore": False}

    async def ids(query):
        return [one["id"] for one in (await listed(client, query))["tasks"]]

    assert await ids("?status=pending") == [delayed, waiting, ready]
    assert await ids("?status=active") == [active]
    assert await ids("?status=completed") == [*reversed(ended)]
    assert await ids("?status=failed") == []
    assert await ids("?queue=other") == [delayed, ready]
    assert await ids("?queue=emails&status=pending&x=y") == [waiting]
    part = await listed(client, "?limit=2&offset=1")
    assert [one["id"] for one in part["tasks"]] == every[1:3]
    assert part["pagination"] == {"total": 6, "limit": 2, "offset": 1, "hasMore": True}
    assert (await listed(client, "?limit=2&offset=4"))["pagination"]["hasMore"] is False
    assert (await listed(client, "?offset=9"))["tasks"] == []


SOME = """
INSERT INTO parent (id, key_id, state, priority, lanes, total, payload, queue)
SELECT gen_random_uuid(), key_id, 'completed', 5, lanes, 1, payload, queue
FROM (SELECT * FROM parent LIMIT 1) AS one, generate_series(1, %s)
"""


async def test_a_total_is_exact_to_ten_thousand(client, connection):
    """And no more beyond."""
    await make(client)
    for more, total in ((9_998, 9_999), (1, 10_000), (1, 10_000)):
        await connection.execute(SOME, [more])
        assert (await listed(client, "?limit=1"))["pagination"]["total"] == total


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "offset=-1", "status=done", "queue=-", "queue="]
)
async def test_a_bad_list_is_refused(client, query):
    """400, with what is allowed."""
    answer = await client.get(f"/v1/tasks?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(f"?{query.partition('=')[0]}: ")


@pytest.mark.parametrize("state", ["waiting", "delayed", "ready", "between"])
async def test_what_waits_can_be_deleted(client, connection, state):
    """204, then it is unknown, and nothing of it is counted."""
    task = await make(client, delay=60 if state == "delayed" else 0)
    if state in {"ready", "between"}:
        await fan_out(connection)
    if state == "between":
        (child,) = await dialects.claimed(connection)
        await factories.settle(connection, factories.retried(child, delay_seconds=60))
    answer = await client.delete(f"/v1/tasks/{task}")
    assert (answer.status_code, answer.content) == (204, b"")
    for method in (client.get, client.delete):
        gone = await method(f"/v1/tasks/{task}")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "JOB_NOT_FOUND")
    assert (await client.get("/v1/async/status")).json()["inflight"]["total"] == 0
    assert await factories.scalar(connection, "SELECT count(*) FROM child") == 0


@pytest.mark.parametrize("over", [False, True])
async def test_what_is_called_or_over_cannot_be_deleted(client, connection, over):
    """409, and it stays as it is."""
    task = await make(client)
    await fan_out(connection)
    if over:
        await dialects.end(connection)
    else:
        await dialects.claimed(connection)
    answer = await client.delete(f"/v1/tasks/{task}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "NOT_CANCELABLE")
    assert (await read(client, task))["status"] == ("completed" if over else "active")


@pytest.mark.parametrize("task", ["x", "task_x", "job_06h00r4h1trtr7pjt7b69j1f04"])
async def test_a_task_that_is_not_there(client, task, issue, opened):
    """Nor is a native job a task, or somebody else's."""
    assert (await client.get(f"/v1/tasks/{task}")).status_code == 404
    job = (await client.post("/v1/search", json={"query": "q", "surfaces": ["chatgpt"]})).json()
    own = job["jobId"].replace("job_", "task_")
    assert (await client.get(f"/v1/tasks/{own}")).status_code == 404
    assert (await client.delete(f"/v1/tasks/{own}")).status_code == 404
    mine = await make(client)
    async with opened((await issue()).secret) as other:
        assert (await other.get(f"/v1/tasks/{mine}")).status_code == 404
        assert (await other.delete(f"/v1/tasks/{mine}")).status_code == 404


async def test_a_full_queue_is_a_429(issue, opened, registered):
    """The same admission, with the headers of every 429."""
    async with opened((await issue(queue_capacity=0)).secret) as client:
        answer = await client.post("/v1/tasks", json=TASK)
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "QUEUE_CAPACITY_EXCEEDED"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


async def test_queues_are_no_surfaces_of_native_jobs(client):
    """Nobody asks them a query; where they are listed it says that they are GLOBAL."""
    answer = await client.post("/v1/search", json={"query": "q", "surfaces": ["queue_emails"]})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "UNSUPPORTED_SURFACE")
    assert "queue_" not in error["message"].partition("What exists")[2]
    shown = {one["name"]: one for one in (await client.get("/v1/surfaces")).json()["surfaces"]}
    assert shown["queue_emails"]["regions"] == ["GLOBAL"]


async def test_no_worker_has_come_yet(issue, opened):
    """503, with when to come back."""
    async with opened((await issue()).secret) as client:
        answer = await client.post("/v1/tasks", json=TASK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert "Retry-After" in answer.headers


async def test_a_task_draws_on_a_reservation(registered, issue, opened):
    """Its place is held for whoever names it; sent again under its key it takes no other."""
    async with opened((await issue(queue_capacity=1)).secret) as client:
        held = await client.post(
            "/v1/async/preflight",
            json={"jobs": 1, "surfaces": ["chatgpt"], "reserveSeconds": 60},
        )
        named = {"X-Reservation": held.json()["reservation"]["id"], "Idempotency-Key": "k"}
        assert (await client.post("/v1/tasks", json=TASK)).status_code == 429
        made = await client.post("/v1/tasks", json=TASK, headers=named)
        assert (made.status_code, made.headers["X-Reservation-Remaining"]) == (201, "0")
        again = await client.post("/v1/tasks", json=TASK, headers=named)
        assert (again.status_code, again.json()["id"]) == (201, made.json()["id"])
