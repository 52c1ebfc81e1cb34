"""Every error of every system, asked for at each kind of path: its status, code and shape."""

import asyncio
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from orchestrator.store import surfaces
from tests import factories
from tests.api import conformance, dialects

pytestmark = pytest.mark.anyio
TASK = "0199f3a0-5c00-7007-8000-0242ac120002"


class Path(NamedTuple):
    """Something that is served, in one of the four systems or in two of them."""

    method: str
    path: str
    system: str
    body: Any = None


CLORO_TASK = {"taskType": "CHATGPT", "payload": {"prompt": "tea?", "country": "GB"}}
SERVED = (
    Path("POST", "/v1/search", "native", {"query": "tea", "surfaces": ["chatgpt"]}),
    Path("GET", "/v1/jobs", "native"),
    Path("POST", "/v1/async/preflight", "native", {"jobs": 1, "surfaces": ["chatgpt"]}),
    Path("GET", "/v1/async/status", "shared"),
    Path("DELETE", "/v1/async/queue", "shared"),
    Path("POST", "/v1/async/task", "cloro", CLORO_TASK),
    Path("POST", "/v1/async/task/batch", "cloro", [CLORO_TASK]),
    Path("GET", f"/v1/async/task/{TASK}", "cloro"),
    Path("POST", "/v1/monitor/chatgpt", "cloro", CLORO_TASK["payload"]),
    Path("GET", "/v1/countries", "cloro"),
    Path("GET", "/v1/credits", "cloro"),
    Path("POST", "/v1/tasks", "asyncqueue", {"queue": "q", "webhook_url": "https://a.example/"}),
    Path("GET", "/v1/tasks", "asyncqueue"),
    Path("DELETE", "/v1/tasks/task_06h00r4h1trtr7pjt7b69j1f04", "asyncqueue"),
    Path("GET", "/api/v2/queue_status_check", "rodin"),
)
POSTED = [served for served in SERVED if served.body is not None]
UNKNOWN = (
    ("/v1/nothing", "native"),
    ("/v1/async/reservations/x/y", "native"),
    ("/v1/async/nothing", "cloro"),
    ("/v1/async/task/x/y", "cloro"),
    ("/v1/monitor", "cloro"),
    ("/v1/monitor/a/b", "cloro"),
    ("/v1/countries/x", "cloro"),
    ("/v1/credits/x", "cloro"),
    ("/v1/tasks/x/y", "asyncqueue"),
    ("/api/v2/nothing", "rodin"),
    ("/api/v2", "rodin"),
)


def named(served: Path) -> str:
    return f"{served.method} {served.path}"


each = pytest.mark.parametrize("served", SERVED, ids=named)
each_posted = pytest.mark.parametrize("served", POSTED, ids=named)


@pytest.fixture
async def registered(connection):
    await surfaces.register(connection, list(dialects.SURFACES))
    await factories.node(connection, surfaces=dialects.NAMES)


async def ask(client, served, **how):
    return await client.request(served.method, served.path, **({"json": served.body} | how))


def said(answer, path, status, code, *, cloro=None):
    """The error has this status and code, in the shape of its path; returns what it is about."""
    shape = conformance.shape(path, status)
    words = cloro if cloro and shape is conformance.CLORO_SHAPE else code
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert conformance.faults(shape, told) == []
    assert (told["error"] if shape.schema == "RodinErrorDocument" else told["error"]["code"]) == (
        words
    )
    assert answer.headers["X-Request-ID"]
    assert answer.headers["Content-Type"] == "application/json"
    return told


@each
@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "MISSING_API_KEY"),
        ("Bearer sk_test_0", "INVALID_API_KEY_FORMAT"),
        ("Bearer sk_live_" + "a" * 40, "INVALID_OR_EXPIRED_API_KEY"),
    ],
)
async def test_a_key_that_opens_nothing_is_a_401(served, header, code, registered, anonymous):
    """Which of the three it is, and how to come in."""
    headers = {"Authorization": header} if header else {}
    answer = await ask(anonymous, served, headers=headers)
    said(answer, served.path, 401, code)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@each
async def test_beyond_the_rate_is_a_429(served, registered, issue, opened):
    """The one token is spent: when to come back, and what the key runs."""
    async with opened((await issue(requests_per_minute=1)).secret) as client:
        assert (await client.get("/v1/async/status")).status_code == 200
        answer = await ask(client, served)
    said(answer, served.path, 429, "RATE_LIMIT_EXCEEDED")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    for name in ("Limit", "Running", "Queued"):
        assert answer.headers[f"X-Concurrency-{name}"].isdigit()


@each
async def test_another_method_is_a_405(served, client):
    """With those there are."""
    answer = await client.patch(served.path)
    said(answer, served.path, 405, "METHOD_NOT_ALLOWED")
    assert served.method in answer.headers["Allow"]


@pytest.mark.parametrize(("path", "system"), UNKNOWN)
async def test_where_nothing_is_served_is_a_404_of_the_system_around_it(path, system, client):
    """Each system has its paths, the unknown ones too."""
    answer = await client.get(path)
    told = said(answer, path, 404, "NOT_FOUND", cloro="RESOURCE_NOT_FOUND")
    assert (told.get("success") is False) == (system == "cloro")


@each_posted
async def test_what_is_no_json_is_a_400(served, client):
    """Said as the system says that a body is wrong."""
    answer = await ask(
        client, served, json=None, content=b"{", headers={"Content-Type": "application/json"}
    )
    said(answer, served.path, 400, "VALIDATION_FAILED", cloro="VALIDATION_ERROR")


@each_posted
async def test_another_media_type_is_a_415(served, client):
    """Before anything of it is read."""
    answer = await ask(
        client, served, json=None, content=b"a=b", headers={"Content-Type": "text/plain"}
    )
    said(answer, served.path, 415, "UNSUPPORTED_MEDIA_TYPE")


@each_posted
async def test_a_body_that_is_too_large_is_a_413(served, client):
    """By what it says of its length."""
    headers = {"Content-Type": "application/json", "Content-Length": str(2**30)}
    answer = await ask(client, served, json=None, content=b"{}", headers=headers)
    said(answer, served.path, 413, "PAYLOAD_TOO_LARGE")


@each
async def test_a_fault_of_the_server_is_a_500_that_tells_nothing(served, assembled, client):
    """Whatever broke; who may ask is known."""
    assert (await client.get("/v1/async/status")).status_code == 200
    whole = assembled.state["services"]
    broken = SimpleNamespace(
        **{name: getattr(whole, name) for name in ("settings", "keys", "rates", "traffic")}
    )
    assembled.state["services"] = broken
    try:
        answer = await ask(client, served)
    finally:
        assembled.state["services"] = whole
    said(answer, served.path, 500, "INTERNAL_SERVER_ERROR")
    assert "SimpleNamespace" not in answer.text


async def test_a_database_that_is_away_is_a_503_everywhere(registered, client, outage):
    """All systems say so, and when to come again."""
    assert (await client.get("/v1/async/status")).status_code == 200
    outage.go()
    answers = await asyncio.gather(*(ask(client, served) for served in SERVED))
    for served, answer in zip(SERVED, answers, strict=True):
        said(answer, served.path, 503, "SERVICE_UNAVAILABLE")
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    outage.come_back()
