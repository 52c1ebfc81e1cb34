"""Every error of every system, asked for at each kind of path: its status, code, details, headers.

The words are those of the contract, written out; `conformance` has the paths and the shapes.
"""

import asyncio

import pytest

from admission import keys
from orchestrator.fanout import fan_out
from orchestrator.store import surfaces
from tests import factories
from tests.api import conformance, dialects
from tests.api.conformance import (
    BATCH,
    CALLED,
    CLORO_ID,
    CREATE,
    ID,
    MONITOR,
    PREFLIGHT,
    QUEUED,
    SEARCH,
    SEARCHED,
    SERVED,
    SYNC,
    TASK,
    UNKNOWN,
    Path,
    refused,
    watched,
)

pytestmark = pytest.mark.anyio
POSTED = [asked for asked in SERVED if asked.body is not None]
INTERNALS = "what only a log may say"


def named(given):
    return f"{given.method} {given.path}" if isinstance(given, Path) else None


def each(paths):
    return pytest.mark.parametrize("asked", paths, ids=named)


@pytest.fixture
async def registered(connection):
    await surfaces.register(connection, list(dialects.SURFACES))
    await factories.node(connection, surfaces=dialects.NAMES)


async def ask(client, asked, **how):
    return await client.request(asked.method, asked.path, **({"json": asked.body} | how))


@each(SERVED)
@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "MISSING_API_KEY"),
        ("Bearer sk_test_0", "INVALID_API_KEY_FORMAT"),
        ("Bearer sk_live_" + "a" * 40, "INVALID_OR_EXPIRED_API_KEY"),
    ],
)
async def test_a_key_that_opens_nothing_is_a_401(asked, header, code, registered, anonymous):
    """Which of the three it is, and how to come in; whatever the body, and no rate is told."""
    headers = {"Authorization": header} if header else {}
    answer = await ask(anonymous, asked, headers=headers, json="wrong")
    refused(answer, asked.system, 401, code)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "X-RateLimit-Limit" not in answer.headers


@each(SERVED)
async def test_beyond_the_rate_is_a_429(asked, registered, issue, opened):
    """The one token is spent: when to come back, and what the key runs; whatever the body."""
    async with opened((await issue(requests_per_minute=1)).secret) as client:
        assert (await client.get("/v1/async/status")).status_code == 200
        answer = await ask(client, asked, json="wrong")
    details = watched(answer, asked.system, limit=1, current=1, requested=1, watch="requestRate")
    refused(answer, asked.system, 429, "RATE_LIMIT_EXCEEDED", details)
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    if asked.path.startswith("/v1/monitor"):
        told = [answer.headers[f"X-Concurrency-{name}"] for name in ("Current", "Remaining")]
        assert told == ["0", "8"]


@each(SERVED)
async def test_another_method_is_a_405(asked, client):
    """With those there are."""
    answer = await client.patch(asked.path)
    refused(answer, asked.system, 405, "METHOD_NOT_ALLOWED")
    assert asked.method in answer.headers["Allow"].split(", ")


@pytest.mark.parametrize(("path", "system"), UNKNOWN)
async def test_where_nothing_is_served_is_a_404_of_the_system_around_it(
    path, system, client, anonymous
):
    """Each system has its paths, the unknown ones too, whoever asks."""
    for asking in (client, anonymous):
        refused(await asking.get(path), system, 404, "NOT_FOUND")


@each(POSTED)
async def test_what_is_no_json_is_a_400(asked, client):
    """Said as the system says that a body is wrong."""
    headers = {"Content-Type": "application/json"}
    answer = await ask(client, asked, json=None, content=b"{", headers=headers)
    message = "The body is not JSON: Input data was truncated."
    said = refused(
        answer, asked.system, 400, "VALIDATION_FAILED", conformance.wrong(asked, "", message)
    )
    assert (said.message == message) == (asked.system == "asyncqueue")


@pytest.mark.parametrize(
    ("asked", "where", "message"),
    [
        (SEARCH._replace(body=SEARCHED | {"priority": 0}), "priority", "At least 1."),
        (PREFLIGHT._replace(body=PREFLIGHT.body | {"jobs": 0}), "jobs", "At least 1."),
        (
            Path("DELETE", "/v1/async/queue?x=1", "shared"),
            *("?x", "Unknown query parameter; none is allowed."),
        ),
        (CREATE._replace(body=TASK | {"priority": 0}), "priority", "At least 1."),
        (BATCH._replace(body=[]), "", "Must be a list of 1 to 500 tasks."),
        (MONITOR._replace(body={}), "prompt", "This field is required."),
        (
            Path("GET", "/v1/countries?model=bing", "cloro"),
            "model",
            "One of AIMODE, GOOGLE, GOOGLE_NEWS, GEMINI, CHATGPT, COPILOT, PERPLEXITY, GROK.",
        ),
        (QUEUED._replace(body=CALLED | {"priority": 0}), "priority", "At least 1."),
        (Path("GET", "/v1/tasks?limit=0", "asyncqueue"), "?limit", "A number from 1 to 100."),
    ],
    ids=named,
)
async def test_a_field_that_is_wrong_is_a_400(asked, where, message, client):
    """Where, and what is allowed."""
    details = conformance.wrong(asked, where, message)
    said = refused(await ask(client, asked), asked.system, 400, "VALIDATION_FAILED", details)
    assert (said.message == f"{where}: {message}") == (asked.system == "asyncqueue")


@each(POSTED)
async def test_another_media_type_is_a_415(asked, client):
    """Before anything of it is read."""
    headers = {"Content-Type": "text/plain"}
    answer = await ask(client, asked, json=None, content=b"a=b", headers=headers)
    refused(answer, asked.system, 415, "UNSUPPORTED_MEDIA_TYPE")


@each(POSTED)
async def test_a_body_that_is_too_large_is_a_413(asked, client):
    """By what it says of its length; a batch may be larger."""
    headers = {"Content-Type": "application/json", "Content-Length": str(2**30)}
    answer = await ask(client, asked, json=None, content=b"{}", headers=headers)
    said = refused(answer, asked.system, 413, "PAYLOAD_TOO_LARGE")
    assert ("16,777,216" if asked is BATCH else "262,144") in said.message


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (Path("GET", "/v1/jobs/x", "native"), "JOB_NOT_FOUND"),
        (Path("GET", f"/v1/jobs/job_{ID}", "native"), "JOB_NOT_FOUND"),
        (Path("DELETE", "/v1/async/reservations/x", "native"), "NOT_FOUND"),
        (Path("GET", "/v1/async/task/x", "cloro"), "NOT_FOUND"),
        (Path("GET", f"/v1/async/task/{CLORO_ID}", "cloro"), "NOT_FOUND"),
        (MONITOR._replace(path="/v1/monitor/bing"), "NOT_FOUND"),
        (Path("GET", "/v1/tasks/x", "asyncqueue"), "JOB_NOT_FOUND"),
        (Path("DELETE", f"/v1/tasks/task_{ID}", "asyncqueue"), "JOB_NOT_FOUND"),
    ],
    ids=named,
)
async def test_what_is_not_there_is_a_404(asked, code, client):
    """Unknown, and what can be nobody's id."""
    refused(await ask(client, asked), asked.system, 404, code)


def under(asked, name):
    """The same request under this idempotency key, in whatever way there is."""
    if asked.system == "asyncqueue":
        return {"headers": {"Idempotency-Key": name}, "json": asked.body}
    return {"json": asked.body | {"idempotencyKey": name}}


@pytest.mark.parametrize(
    ("asked", "other"), [(SEARCH, {"priority": 1}), (CREATE, {}), (QUEUED, {"priority": 1})]
)
async def test_an_idempotency_key_that_is_taken_is_a_409(asked, other, client):
    """By another request; of cloro's tasks by any."""
    made = (await ask(client, asked, **under(asked, "k"))).json()
    again = under(asked._replace(body=asked.body | other), "k")
    details = {
        "native": {"jobId": made.get("jobId")},
        "cloro": {"field": "idempotencyKey", "value": "k"},
    }
    answer = await ask(client, asked, **again)
    refused(answer, asked.system, 409, "IDEMPOTENCY_CONFLICT", details.get(asked.system))


@pytest.mark.parametrize(
    ("asked", "then", "code"),
    [
        (SEARCH, "POST /v1/jobs/{jobId}/cancel", "NOT_CANCELABLE"),
        (SEARCH, "POST /v1/jobs/{jobId}/retry", "NOT_RETRYABLE"),
        (QUEUED, "DELETE /v1/tasks/{id}", "NOT_CANCELABLE"),
    ],
    ids=named,
)
async def test_what_is_over_is_a_409(asked, then, code, client, connection):
    """There is nothing to cancel, to try again, to delete."""
    made = (await ask(client, asked)).json()
    await fan_out(connection)
    await dialects.end(connection)
    answer = await client.request(*then.format(**made).split())
    refused(answer, asked.system, 409, code)


@each([SEARCH, SYNC, CREATE, MONITOR])
async def test_too_few_credits_are_a_403(asked, registered, issue, opened, connection):
    """With what it may cost and what is free; there is no room either."""
    issued = await issue(queue_capacity=0, sync_limit=0)
    await keys.set_credits(connection, issued.key, 4)
    async with opened(issued.secret) as client:
        answer = await ask(client, asked)
    details = {"estimated": 5, "remaining": 4}
    refused(answer, asked.system, 403, "INSUFFICIENT_CREDITS", details)


@each([SEARCH, SYNC, CREATE, MONITOR, QUEUED])
@pytest.mark.parametrize("period", ["daily", "monthly"])
async def test_beyond_a_quota_is_a_403(asked, period, registered, issue, opened):
    """Which, how much of it is used, and until when; there is no room either."""
    limits = {f"quota_{period}": 0, "queue_capacity": 0, "sync_limit": 0}
    async with opened((await issue(**limits)).secret) as client:
        answer = await ask(client, asked)
    said = conformance.told(answer, asked.system)
    assert (answer.status_code, said.code) == (403, "QUOTA_EXCEEDED")
    if asked.system == "asyncqueue":
        assert f"{period} quota of 0" in said.message
        return
    assert list(said.details) == ["period", "limit", "used", "resetsAt"]
    assert conformance.TIME.fullmatch(said.details.pop("resetsAt"))
    assert said.details == {"period": period, "limit": 0, "used": 0}


@each([SEARCH, CREATE, BATCH, QUEUED])
async def test_a_full_queue_is_a_429(asked, registered, issue, opened):
    """In the system's own word; how many may wait, and when there is room."""
    async with opened((await issue(queue_capacity=0)).secret) as client:
        answer = await ask(client, asked)
    details = watched(answer, asked.system, limit=0, current=0, requested=1, watch="admissionQueue")
    refused(answer, asked.system, 429, "QUEUE_CAPACITY_EXCEEDED", details)


@each([SYNC, SEARCH._replace(path="/v1/search?mode=sync"), MONITOR])
async def test_no_sync_place_is_a_429(asked, registered, issue, opened):
    """How many may be waited for; a monitor has headers of its own beside those of every 429."""
    async with opened((await issue(sync_limit=0)).secret) as client:
        answer = await ask(client, asked)
    limit = {"limit": 0, "current": 0, "requested": 1, "watch": "syncConcurrency"}
    details = watched(answer, asked.system, **limit)
    refused(answer, asked.system, 429, "CONCURRENCY_LIMIT_EXCEEDED", details)
    told = [answer.headers.get(f"X-Concurrency-{name}") for name in ("Current", "Remaining")]
    assert told == (["0", "0"] if asked is MONITOR else [None, None])


@each([SEARCH, CREATE, QUEUED])
async def test_what_is_met_first_is_told(asked, registered, issue, opened, connection):
    """The body, then what was there already, then quotas, then the room; all of them lack."""
    issued = await issue(queue_capacity=1)
    async with opened(issued.secret) as client:
        made = await ask(client, asked, **under(asked, "k"))
        spent = issued.key.limits._replace(queue_capacity=1, quota_daily=1)
        await keys.set_limits(connection, issued.key, spent)
        broken = await ask(client, asked, json=asked.body | {"priority": 0})
        again = await ask(client, asked, **under(asked, "k"))
        short = await ask(client, asked)
        await keys.set_limits(connection, issued.key, spent._replace(quota_daily=None))
        full = await ask(client, asked)
    assert again.status_code == (409 if asked is CREATE else made.status_code)
    assert [answer.status_code for answer in (broken, short, full)] == [400, 403, 429]


@each([asked for asked in SERVED if asked.system in {"cloro", "asyncqueue", "rodin"}])
async def test_query_parameters_nobody_knows_are_ignored(asked, registered, issue, opened):
    """In dialects, of whatever method."""
    async with opened((await issue(sync_limit=0)).secret) as client:
        bare = await ask(client, asked)
        answer = await ask(client, asked._replace(path=f"{asked.path}?pretty=1&x=%ff"))
    assert answer.status_code == bare.status_code != 400


@each([asked for asked in SERVED if asked.system == "shared"])
async def test_only_the_rate_refuses_on_shared_paths(asked, registered, issue, opened):
    """A key without any room is answered there."""
    limits = {"queue_capacity": 0, "sync_limit": 0, "concurrency": 1, "quota_daily": 0}
    async with opened((await issue(**limits)).secret) as client:
        assert (await ask(client, asked)).status_code == 200


class Broken:
    """Services that fail whoever uses them, but for finding out who asks."""

    def __init__(self, whole):
        self._whole = whole

    def __getattr__(self, name):
        if name in {"settings", "keys", "rates", "traffic"}:
            return getattr(self._whole, name)
        raise RuntimeError(INTERNALS)


@each(SERVED)
async def test_a_fault_of_the_server_is_a_500_that_tells_nothing(asked, assembled, client):
    """Whatever broke; who may ask is known."""
    assert (await client.get("/v1/async/status")).status_code == 200
    whole = assembled.state["services"]
    assembled.state["services"] = Broken(whole)
    try:
        answer = await ask(client, asked)
    finally:
        assembled.state["services"] = whole
    refused(answer, asked.system, 500, "INTERNAL_SERVER_ERROR")
    for told in (answer.text, str(answer.headers)):
        assert INTERNALS not in told
        assert RuntimeError.__name__ not in told


async def test_a_database_that_is_away_is_a_503_everywhere(registered, client, outage):
    """All systems say so, and when to come again."""
    assert (await client.get("/v1/async/status")).status_code == 200
    outage.go()
    answers = await asyncio.gather(*(ask(client, asked) for asked in SERVED))
    for asked, answer in zip(SERVED, answers, strict=True):
        refused(answer, asked.system, 503, "SERVICE_UNAVAILABLE")
        assert conformance.later(answer)
    outage.come_back()


@each([SEARCH, SYNC, PREFLIGHT, CREATE, BATCH, MONITOR, QUEUED])
async def test_before_any_worker_has_come_it_is_a_503(asked, issue, opened):
    """There is nothing yet that could be asked; when to come again."""
    async with opened((await issue()).secret) as client:
        answer = await ask(client, asked)
    refused(answer, asked.system, 503, "SERVICE_UNAVAILABLE")
    assert conformance.later(answer)
