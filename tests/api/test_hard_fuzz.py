"""Anything at all, at every operation: it is served or refused in the one shape, never a 500."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.api import openapi
from orchestrator.settings import Settings
from tests.api import conformance

pytestmark = pytest.mark.anyio

ENDLESS = "/v1/async/status/stream"
OPERATIONS = [
    (method.upper(), path)
    for path, methods in openapi.document()["paths"].items()
    for method in methods
    if path != ENDLESS
]
HEADERS = ("content-type", "content-length", "content-encoding", "accept", "prefer")
HEADERS += ("idempotency-key", "x-request-id", "transfer-encoding", "expect", "host")
HEADERS += ("x-reservation", "last-event-id")
PARAMETERS = ("mode", "view", "limit", "cursor", "ready", "atomic", "wait", "status", "surface")
PARAMETERS += ("region", "group", "metadata.k", "createdAfter", "createdBefore")
VALID = {"query": "shoes", "surfaces": ["chatgpt"], "regions": ["US"], "priority": 5}
FIELDS = (*VALID, "prompt", "country", "city", "language", "maxAttempts", "options", "metadata")
FIELDS += ("idempotencyKey", "delay", "deadline", "finish", "group", "maxCredits", "webhook")
FIELDS += ("from", "to", "expiresAt", "secret")


class Sent(NamedTuple):
    """A request as the application gets it."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Got(NamedTuple):
    """A whole response."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=10,
)
changes = st.dictionaries(st.sampled_from(FIELDS) | st.text(), values, max_size=4)
documents = changes.map(lambda changed: json.dumps(VALID | changed).encode())
bodies = documents | values.map(lambda value: json.dumps(value).encode()) | st.binary()
names = st.sampled_from([name.encode() for name in HEADERS]) | st.binary(min_size=1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
known = st.sampled_from(PARAMETERS)
pairs = st.lists(st.tuples(known | texts, texts), max_size=5)
queries = st.binary() | pairs.map(
    lambda given: "&".join(f"{name}={value}" for name, value in given).encode()
)


@st.composite
def requests(draw) -> Sent:
    """Any operation, or any path; with any query, headers and body."""
    method, path = draw(st.sampled_from(OPERATIONS) | st.tuples(st.text(min_size=1), texts))
    for name in ("{job}", "{surface}", "{country}", "{delivery}", "{secret}"):
        if name in path:
            path = path.replace(name, draw(texts | st.just("chatgpt")))
    headers = draw(st.lists(st.tuples(names, st.binary()), max_size=4))
    return Sent(method, path, draw(queries), headers, draw(bodies))


@pytest.fixture(name="settings")
def impatient(database) -> Settings:
    key = "what secrets are sealed with here"
    return Settings(database_url=database, sync_wait=0.01, sync_wait_max=1, secret_key=key)


@pytest.fixture
async def ask(app, issue, registered) -> Callable[[Sent], Awaitable[Got]]:
    """Hands a request to the application, byte for byte, with a key that may ask for ever."""
    secret = (await issue(requests_per_minute=10_000_000, queue_capacity=1_000_000)).secret
    authorization = (b"authorization", f"Bearer {secret}".encode())

    async def made(sent: Sent) -> Got:
        messages: list[dict[str, Any]] = []
        parts = iter([{"type": "http.request", "body": sent.body, "more_body": False}])

        async def receive() -> dict[str, Any]:
            for part in parts:
                return part
            return await anyio.sleep_forever()

        async def send(message: dict[str, Any]) -> None:
            messages.append(message)

        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1"}
        scope |= {"scheme": "http", "server": ("t", 80), "client": ("t", 1), "root_path": ""}
        scope |= {"method": sent.method, "path": sent.path, "raw_path": sent.path.encode()}
        scope |= {"query_string": sent.query, "headers": [authorization, *sent.headers]}
        await app(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in messages[1:])
        return Got(messages[0]["status"], dict(messages[0]["headers"]), body)

    return made


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=requests())
async def test_nothing_anybody_sends_is_the_servers_fault(ask, sent):
    """Below 500, but for a documented time-out; every error has the shape of its path."""
    got = await ask(sent)
    assert got.status < 500 or overdue(sent, got)
    if got.status >= 400:
        shape = conformance.shape(sent.path, got.status)
        told = json.loads(got.body)
        assert conformance.faults(shape, told) == []
        if shape.schema in {"ErrorDocument", "SharedErrorDocument"}:
            assert told["error"]["status"] == got.status
            assert told["error"]["requestId"].encode() == got.headers[b"x-request-id"]


def overdue(sent: Sent, got: Got) -> bool:
    """Whether it says that an answer was not there in time."""
    if sent.path.startswith("/v1/monitor"):
        return got.status == 500 and b"was not there in time" in got.body
    return got.status == 504 and b"SURFACE_TIMEOUT" in got.body


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies, path=st.sampled_from(["/v1/search", "/v1/search/chatgpt"]))
async def test_whatever_a_body_holds_a_submission_is_taken_or_refused(ask, body, path):
    """202, or a 400 whose faults have a path and words each; what is taken is read back."""
    got = await ask(Sent("POST", path, b"mode=async", [], body))
    assert got.status in {202, 400, 409}
    told = json.loads(got.body)
    if got.status == 202:
        job = await ask(Sent("GET", f"/v1/jobs/{told['jobId']}", b"", [], b""))
        assert job.status == 200
    elif told["error"]["code"] == "VALIDATION_FAILED":
        assert all(fault["message"].endswith(".") for fault in told["error"]["details"])


items = st.lists(changes.map(lambda changed: VALID | changed) | values, min_size=1, max_size=4)
frames = items.map(lambda held: json.dumps({"items": held}).encode()).filter(
    lambda frame: b"NaN" not in frame and b"Infinity" not in frame  # those are no JSON
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=frames, atomic=st.sampled_from([b"true", b"false"]))
async def test_whatever_the_items_of_a_batch_hold_each_is_answered(ask, body, atomic):
    """Each by itself: accepted, or rejected with its error; together: all of them or a no."""
    got = await ask(Sent("POST", "/v1/search/batch", b"atomic=" + atomic, [], body))
    told = json.loads(got.body)
    if got.status != 200:
        assert (got.status in {400, 409}, atomic) == (True, b"true")
        return
    assert [item["index"] for item in told["items"]] == list(range(len(json.loads(body)["items"])))
    for item in told["items"]:
        accepted = item["status"] == "accepted"
        assert (item["job"] is not None, item["error"] is None) == (accepted, accepted)
        assert accepted or atomic == b"false"
