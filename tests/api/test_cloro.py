"""A client of cloro that changed its base URL."""

import asyncio
import re
from uuid import UUID

import pytest

from admission import keys
from orchestrator.domain import ids
from orchestrator.fanout import fan_out
from orchestrator.store import steering, surfaces
from tests import factories
from tests.api import dialects
from tests.waiting import eventually

pytestmark = pytest.mark.anyio
TASK = {"taskType": "CHATGPT", "payload": {"prompt": "tea?", "country": "GB"}}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
async def registered(connection):
    await surfaces.register(connection, list(dialects.SURFACES))
    await factories.node(connection, surfaces=dialects.NAMES)


async def make(client, **fields):
    answer = await client.post("/v1/async/task", json=TASK | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["task"]["id"]


async def read(client, task):
    answer = await client.get(f"/v1/async/task/{task}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_task_is_made(client, connection):
    """200, with a uuid, its defaults, what it may cost; natively it is a job like any."""
    answer = await client.post("/v1/async/task", json=TASK)
    said = answer.json()
    assert answer.status_code == 200
    assert list(said) == ["success", "task", "credits"]
    task = said["task"]
    assert list(task) == [
        *("id", "taskType", "status", "priority", "createdAt", "latencyMs", "idempotencyKey")
    ]
    assert said["success"] is True
    assert (task["taskType"], task["status"], task["priority"]) == ("CHATGPT", "QUEUED", 1)
    assert (task["latencyMs"], task["idempotencyKey"]) == (None, None)
    assert TIME.fullmatch(task["createdAt"])
    assert said["credits"] == {"creditsToCharge": 5, "creditsCharged": None}
    assert int(answer.headers["X-Latency-Ms"]) >= 0
    native = await client.get(f"/v1/jobs/{ids.text(UUID(task['id']))}")
    assert native.json()["job"]["surfaces"] == ["chatgpt"]
    assert native.json()["children"][0]["region"] == "GB"


async def test_a_task_is_followed_to_its_end(client, connection):
    """QUEUED, PROCESSING, QUEUED between attempts, COMPLETED with its result and its price."""
    task = await make(client, priority=7, idempotencyKey="mine")
    waiting = await read(client, task)
    assert list(waiting) == ["task", "credits"]
    assert waiting["task"]["status"] == "QUEUED"
    await fan_out(connection)
    (child,) = await dialects.claimed(connection)
    assert (await read(client, task))["task"]["status"] == "PROCESSING"
    await factories.settle(connection, factories.retried(child, delay_seconds=60))
    again = await read(client, task)
    assert (again["task"]["status"], again["task"]["latencyMs"]) == ("QUEUED", None)
    await connection.execute("UPDATE child SET state = 'queued', run_at = NULL")
    await dialects.end(connection)
    ended = await read(client, task)
    assert (ended["task"]["status"], ended["task"]["idempotencyKey"]) == ("COMPLETED", "mine")
    assert ended["task"]["latencyMs"] >= 0
    assert ended["credits"] == {"creditsToCharge": 5, "creditsCharged": 5}
    assert ended["response"] == {
        "text": "Tea.",
        "markdown": "**Tea.**",
        "sources": [
            {
                "position": 1,
                "url": "https://tea.example",
                "label": "Tea",
                "description": "All of it.",
            }
        ],
        "model": "sim-1",
        "searchQueries": ["tea"],
    }


async def test_a_task_that_failed_says_why_and_costs_nothing(client, connection):
    """`response` is the error."""
    task = await make(client)
    await fan_out(connection)
    await dialects.fail(connection)
    ended = await read(client, task)
    assert ended["task"]["status"] == "FAILED"
    assert ended["credits"]["creditsCharged"] == 0
    assert ended["response"] == {
        "error": {"code": "UPSTREAM_STATUS", "message": factories.FAILURE.message}
    }


async def test_a_task_that_is_to_run_again_is_queued(client, connection):
    """Retried natively: no response until it has ended anew."""
    task = await make(client)
    await fan_out(connection)
    await dialects.fail(connection)
    assert (await client.post(f"/v1/jobs/{ids.text(UUID(task))}/retry")).status_code == 202
    again = await read(client, task)
    assert (again["task"]["status"], "response" in again) == ("QUEUED", False)
    assert again["credits"]["creditsCharged"] is None


@pytest.mark.parametrize("started", [False, True])
async def test_a_task_canceled_natively_has_failed(client, connection, started):
    """With CANCELED, whether it waited or was ready."""
    task = await make(client)
    if started:
        await fan_out(connection)
    await client.post(f"/v1/jobs/{ids.text(UUID(task))}/cancel")
    ended = await read(client, task)
    assert ended["task"]["status"] == "FAILED"
    assert ended["response"]["error"]["code"] == "CANCELED"
    assert ended["credits"]["creditsCharged"] == 0


@pytest.mark.parametrize("started", [False, True])
async def test_a_task_that_expired_has_failed(client, connection, started):
    """With EXPIRED, and costs nothing."""
    task = await make(client)
    if started:
        await fan_out(connection)
    await connection.execute("UPDATE parent SET deadline_at = now() - interval '1 second'")
    await steering.expire(connection)
    ended = await read(client, task)
    assert (ended["task"]["status"], ended["response"]["error"]["code"]) == ("FAILED", "EXPIRED")
    assert ended["credits"] == {"creditsToCharge": 5, "creditsCharged": 0}


async def test_a_task_cleared_is_gone_and_its_key_free(client, connection):
    """Waiting, or ready and not started; what runs stays, and so do native jobs."""
    waiting = await make(client, idempotencyKey="one")
    await fan_out(connection)
    ready = await make(client, idempotencyKey="two", webhook={"url": "https://a.example/hook"})
    await connection.execute("UPDATE child SET state = 'queued'")
    native = await client.post(
        "/v1/search", json={"query": "q", "surfaces": ["chatgpt"], "regions": ["US"]}
    )
    answer = await client.delete("/v1/async/queue")
    assert answer.json() == {"success": True, "cleared": 3}
    for task in (waiting, ready):
        gone = await client.get(f"/v1/async/task/{task}")
        assert gone.status_code == 404
        assert gone.json()["error"]["code"] == "RESOURCE_NOT_FOUND"
    await make(client, idempotencyKey="one")
    await make(client, idempotencyKey="two")
    kept = await client.get(f"/v1/jobs/{native.json()['jobId']}")
    assert kept.json()["job"]["status"] == "canceled"
    assert await factories.scalar(connection, "SELECT count(*) FROM delivery") == 0


@pytest.mark.parametrize("changed", [{}, {"priority": 2}, {"payload": {"prompt": "coffee?"}}])
async def test_any_reuse_of_a_key_is_a_conflict(client, changed):
    """Same body or not."""
    await make(client, idempotencyKey="k")
    answer = await client.post("/v1/async/task", json=TASK | {"idempotencyKey": "k"} | changed)
    assert answer.status_code == 409
    error = answer.json()["error"]
    assert error["code"] == "RESOURCE_ALREADY_EXISTS"
    assert error["details"] == {"field": "idempotencyKey", "value": "k"}


async def test_keys_are_the_accounts_over_all_dialects(client):
    """What a native job or a task of a queue has, cloro's cannot have, and the other way round."""
    body = {"query": "q", "surfaces": ["chatgpt"], "idempotencyKey": "n"}
    assert (await client.post("/v1/search", json=body)).status_code == 202
    assert (
        await client.post("/v1/async/task", json=TASK | {"idempotencyKey": "n"})
    ).status_code == 409
    await make(client, idempotencyKey="c")
    assert (await client.post("/v1/search", json=body | {"idempotencyKey": "c"})).status_code == 409
    sent = {"queue": "emails", "webhook_url": "https://a.example/"}
    headers = {"Idempotency-Key": "c"}
    assert (await client.post("/v1/tasks", json=sent, headers=headers)).status_code == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "taskType"),
        (TASK | {"taskType": "BING"}, "taskType"),
        (TASK | {"taskType": "GROK"}, "taskType"),
        (TASK | {"payload": {}}, "payload.prompt"),
        (TASK | {"payload": {"prompt": ""}}, "payload.prompt"),
        (TASK | {"payload": {"prompt": "x", "country": "ZZ"}}, "payload.country"),
        (TASK | {"payload": {"prompt": "x\u0000"}}, "payload.prompt"),
        ({"taskType": "GOOGLE", "payload": {"query": "x", "gl": "FR"}}, "payload.country"),
        (TASK | {"priority": 11}, "priority"),
        (TASK | {"delay": 5}, "delay"),
        (TASK | {"idempotencyKey": ""}, "idempotencyKey"),
        (TASK | {"webhook": {"url": "http://localhost/"}}, "webhook.url"),
        (TASK | {"webhook": {"url": "https://a.example/", "secret": "x"}}, "webhook.secret"),
    ],
)
async def test_what_is_wrong_is_said_field_by_field(client, body, field):
    """400, with every fault's field; nothing is stored."""
    answer = await client.post("/v1/async/task", json=body)
    assert answer.status_code == 400, answer.text
    said = answer.json()
    assert said["success"] is False
    assert said["error"]["code"] == "VALIDATION_ERROR"
    assert field in [fault["field"] for fault in said["error"]["details"]]
    assert TIME.fullmatch(said["error"]["timestamp"])
    status = (await client.get("/v1/async/status")).json()
    assert status["queuedTasks"] == 0


async def test_other_names_of_fields_and_others_beside_them(client, connection):
    """`query` and `gl`, a country in small letters, and what a payload holds besides."""
    payload = {"query": "tea", "gl": "gb", "include": {"markdown": True}, "device": "mobile"}
    task = await make(client, taskType="GOOGLE", payload=payload)
    assert (await read(client, task))["credits"]["creditsToCharge"] == 1
    assert (await client.get("/v1/async/status")).json()["inflight"]["byRegion"] == {"GB": 1}


async def test_a_batch_tells_of_each(client):
    """In order: what was made, what is wrong, what was there, what comes twice in it."""
    await make(client, idempotencyKey="there")
    batch = [
        TASK | {"idempotencyKey": "k", "priority": 3},
        TASK | {"priority": 0},
        TASK | {"idempotencyKey": "there"},
        TASK | {"idempotencyKey": "k"},
        "no task",
    ]
    answer = await client.post("/v1/async/task/batch", json=batch)
    said = answer.json()
    assert answer.status_code == 200
    assert said["success"] is True
    assert said["summary"] == {"total": 5, "succeeded": 1, "failed": 4}
    first, *others = said["results"]
    assert list(first) == ["success", "index", "task", "credits"]
    assert (first["task"]["priority"], first["task"]["idempotencyKey"]) == (3, "k")
    assert [one["index"] for one in others] == [1, 2, 3, 4]
    assert [one["error"]["code"] for one in others] == [
        *("VALIDATION_ERROR", "RESOURCE_ALREADY_EXISTS", "RESOURCE_ALREADY_EXISTS"),
        "VALIDATION_ERROR",
    ]
    assert others[0]["error"]["details"]["errors"] == [
        {"field": "priority", "message": "At least 1."}
    ]
    assert (await read(client, first["task"]["id"]))["task"]["status"] == "QUEUED"


@pytest.mark.parametrize("body", ["{}", "[]", "[", "", '"x"', "[" + "1," * 500 + "1]"])
async def test_a_batch_is_a_list_of_tasks(client, body):
    """1 to 500 of them, bare; else 400 with `details.errors`."""
    answer = await client.post(
        "/v1/async/task/batch", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["details"]["errors"][0]["field"] == ""


async def test_a_batch_finds_room_for_all_or_none(issue, opened, registered):
    """Tasks that are wrong or there already want none; then 429 and nothing is stored."""
    async with opened((await issue(queue_capacity=3)).secret) as client:
        await make(client, idempotencyKey="there")
        over = [TASK] * 3 + [TASK | {"idempotencyKey": "there"}, TASK | {"priority": 0}]
        answer = await client.post("/v1/async/task/batch", json=over)
        assert answer.status_code == 429
        error = answer.json()["error"]
        assert error["code"] == "QUEUE_LIMIT_EXCEEDED"
        assert error["details"] == {"limit": 3}
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert (await client.get("/v1/async/status")).json()["queuedTasks"] == 1
        fits = await client.post("/v1/async/task/batch", json=over[1:])
        assert fits.json()["summary"] == {"total": 4, "succeeded": 2, "failed": 2}


async def test_a_batch_for_which_no_queue_is_long_enough_is_told_so(issue, opened, registered):
    """Still a 429, as any that finds no room; what helps is to send fewer, and not to wait."""
    async with opened((await issue(queue_capacity=1)).secret) as client:
        answer = await client.post("/v1/async/task/batch", json=[TASK] * 2)
    assert answer.status_code == 429
    assert answer.json()["error"]["message"] == (
        "The admission queue of this API key has room for 1 in all, and this is 2: ask for fewer"
        " at once."
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"payload": 5}, "Must be an object with prompt, and perhaps country."),
        ({"webhook": 5}, "Must be an object with url."),
    ],
)
async def test_what_an_object_has_to_have_is_said(client, changed, said):
    """In the words of the field that is wrong."""
    answer = await client.post("/v1/async/task", json=TASK | changed)
    assert answer.status_code == 400
    (fault,) = answer.json()["error"]["details"]
    assert fault == {"field": next(iter(changed)), "message": said}


async def test_a_full_queue_is_a_429_of_its_own_words(issue, opened, registered):
    """With the headers of every 429."""
    async with opened((await issue(queue_capacity=0)).secret) as client:
        answer = await client.post("/v1/async/task", json=TASK)
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "QUEUE_LIMIT_EXCEEDED"
    assert answer.json()["error"]["details"] == {"limit": 0}
    assert answer.headers["X-Concurrency-Queued"] == "0"


async def test_credits_are_told_and_lacked(issue, opened, registered, connection):
    """What is free; too few are a 403, in a batch of each by itself."""
    issued = await issue()
    await keys.set_credits(connection, issued.key, 12)
    async with opened(issued.secret) as client:
        left = {"remaining": 12, "perCycle": None, "cycleResetsAt": None}
        assert (await client.get("/v1/credits")).json() == left
        answer = await client.post("/v1/async/task/batch", json=[TASK] * 3)
        assert answer.json()["summary"] == {"total": 3, "succeeded": 2, "failed": 1}
        assert answer.json()["results"][2]["error"]["code"] == "INSUFFICIENT_CREDITS"
        assert (await client.get("/v1/credits")).json()["remaining"] == 2
        refused = await client.post("/v1/async/task", json=TASK)
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "INSUFFICIENT_CREDITS"
        await fan_out(connection)
        await dialects.fail(connection)
        assert (await client.get("/v1/credits")).json()["remaining"] == 12


async def test_credits_without_end(client):
    """Are null."""
    assert (await client.get("/v1/credits")).json()["remaining"] is None


async def test_what_is_left_is_the_same_natively(issue, opened, registered, connection):
    """Credits and quotas, as `GET /v1/usage` has them, and what a preflight says binds."""
    issued = await issue(quota_daily=9, quota_monthly=2)
    await keys.set_credits(connection, issued.key, 12)
    async with opened(issued.secret) as client:

        async def binding(jobs):
            body = {"jobs": jobs, "surfaces": ["chatgpt"]}
            told = (await client.post("/v1/async/preflight", json=body)).json()
            return told["admitted"], told["binding"], told["retryAfterSeconds"]

        assert await binding(2) == (True, None, None)
        assert await binding(3) == (False, "credits", None)
        await make(client)
        told = (await client.get("/v1/usage")).json()
        left = (await client.get("/v1/credits")).json()["remaining"]
        assert told["balance"] == {"plan": "self-hosted", "credits": left, "unlimited": False}
        assert left == 7
        quotas = told["quotas"]
        assert list(quotas) == ["daily", "monthly"]
        assert all(TIME.fullmatch(quota.pop("resetsAt")) for quota in quotas.values())
        assert quotas == {"daily": {"limit": 9, "used": 1}, "monthly": {"limit": 2, "used": 1}}
        await make(client)
        await keys.set_credits(connection, issued.key, None)
        admitted, limit, seconds = await binding(1)
        assert (admitted, limit, seconds > 0) == (False, "quota", True)
        answer = await client.post("/v1/async/task", json=TASK)
        assert answer.json()["error"]["details"]["period"] == "monthly"
        assert (await client.get("/v1/usage")).json()["balance"]["unlimited"] is True


async def test_countries_are_those_of_the_surfaces(client):
    """Bare and in upper case; of one model, in any case; a bad one is a 400."""
    every = (await client.get("/v1/countries")).json()
    assert every == sorted(every)
    assert {"US", "GB", "FR"} < set(every)
    assert (await client.get("/v1/countries?model=GOOGLE")).json() == ["GB", "US"]
    assert (await client.get("/v1/countries?model=google_news&x=1")).json() == ["GB", "US"]
    assert (await client.get("/v1/countries?model=GROK")).json() == []
    bad = await client.get("/v1/countries?model=bing")
    assert bad.status_code == 400
    assert bad.json()["error"]["details"][0]["field"] == "model"


async def asked(client, connection, ends):
    """What a monitor is told once `ends` has been done to its cell."""
    call = asyncio.create_task(client.post("/v1/monitor/chatgpt", json=TASK["payload"]))

    async def stored():
        return await factories.scalar(connection, "SELECT count(*) > 0 FROM child")

    await eventually(stored)
    await ends(connection)
    return await call


async def test_a_monitor_is_answered_in_the_call(client, connection):
    """With the result, and what is taken of the sync budget now."""
    answer = await asked(client, connection, dialects.end)
    assert answer.status_code == 200
    said = answer.json()
    assert list(said) == ["success", "result"]
    assert said["result"]["text"] == "Tea."
    names = ("Limit", "Current", "Remaining")
    assert [answer.headers[f"X-Concurrency-{name}"] for name in names] == ["8", "0", "8"]
    assert "X-Latency-Ms" in answer.headers


async def test_a_monitor_that_fails_is_a_500(client, connection):
    """That says why."""
    answer = await asked(client, connection, dialects.fail)
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert error["code"] == "INTERNAL_SERVER_ERROR"
    assert "UPSTREAM_STATUS" in error["message"]


@pytest.mark.parametrize("provider", ["bing", "CHATGPT", "chatgpt%20", "x/y"])
async def test_a_monitor_of_nothing_is_not_there(client, provider):
    """404, in cloro's shape."""
    answer = await client.post(f"/v1/monitor/{provider}", json=TASK["payload"])
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "RESOURCE_NOT_FOUND"


async def test_no_sync_place_is_a_429_of_its_own_words(issue, opened, registered):
    """With what is taken of how many."""
    async with opened((await issue(sync_limit=0)).secret) as client:
        answer = await client.post("/v1/monitor/google-news", json={"query": "tea"})
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "CONCURRENCY_LIMIT_EXCEEDED"
    assert answer.json()["error"]["details"] == {"limit": 0}
    assert answer.headers["X-Concurrency-Remaining"] == "0"


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
async def test_the_scheme_is_written_as_it_is(issue, opened, registered, scheme):
    """On cloro's own paths; on those it shares in any case, also once the key is known."""
    secret = (await issue()).secret
    async with opened() as client:
        headers = {"Authorization": f"{scheme} {secret}"}
        shared = await client.get("/v1/async/status", headers=headers)
        assert shared.status_code == 200
        own = await client.get("/v1/credits", headers=headers)
    if scheme == "Bearer":
        assert own.status_code == 200
    else:
        assert own.status_code == 401
        assert own.json()["error"]["code"] == "MISSING_API_KEY"


@pytest.mark.parametrize("task", ["x", "0199f3a05c00700080000242ac120002", str(UUID(int=7))])
async def test_a_task_that_is_not_there(client, task):
    """Unknown, and what can be no task's id; nor is a native job a task."""
    answer = await client.get(f"/v1/async/task/{task}")
    assert (answer.status_code, answer.json()["success"]) == (404, False)
    job = (await client.post("/v1/search", json={"query": "q", "surfaces": ["chatgpt"]})).json()
    native = ids.read(job["jobId"]).parent
    assert (await client.get(f"/v1/async/task/{native}")).status_code == 404


async def test_a_task_is_its_keys_own(client, issue, opened):
    """Somebody else's looks unknown."""
    task = await make(client)
    async with opened((await issue()).secret) as other:
        assert (await other.get(f"/v1/async/task/{task}")).status_code == 404


async def test_whether_its_end_was_told(client, connection):
    """`webhook` is there when the task has one; null until it is delivered."""
    task = await make(client, webhook={"url": "https://a.example/hook"})
    told = {"url": "https://a.example/hook", "deliveredAt": None, "delivered": False}
    assert (await read(client, task))["webhook"] == told
    await fan_out(connection)
    await dialects.end(connection)
    assert (await read(client, task))["webhook"] == told
    await connection.execute("UPDATE delivery SET status = 'delivered', delivered_at = now()")
    after = (await read(client, task))["webhook"]
    assert after["delivered"] is True
    assert TIME.fullmatch(after["deliveredAt"])
    listed = (await client.get("/v1/webhooks/deliveries")).json()["deliveries"]
    assert [one["type"] for one in listed] == ["parent.completed"]


async def test_tasks_draw_on_a_reservation(registered, issue, opened):
    """Of a queue held in full: one task, then a batch, then neither, each told what is left."""
    headers = {}
    async with opened((await issue(queue_capacity=3)).secret) as client:

        async def sent(path, body):
            answer = await client.post(path, json=body, headers=headers)
            return answer.status_code, answer.headers.get("X-Reservation-Remaining")

        held = await client.post(
            "/v1/async/preflight",
            json={"jobs": 3, "surfaces": ["chatgpt"], "reserveSeconds": 60},
        )
        assert await sent("/v1/async/task", TASK) == (429, None)
        headers["X-Reservation"] = held.json()["reservation"]["id"]
        assert await sent("/v1/async/task", TASK) == (200, "2")
        assert await sent("/v1/async/task/batch", [TASK] * 3) == (429, "2")
        assert await sent("/v1/async/task/batch", [TASK] * 2) == (200, "0")
        assert await sent("/v1/async/task", TASK) == (429, None)
