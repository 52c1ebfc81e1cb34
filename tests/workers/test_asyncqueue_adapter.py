"""The `asyncqueue` adapter: how a task's URL is called, and what its answer means."""

import hashlib
import hmac
import json

import pytest
from aiohttp import web

from orchestrator.surfaces import SurfaceConfig
from workers.adapters import asyncqueue, base, discovery
from workers.errors import OptionError, SurfaceError
from workers.secrets import UNREADABLE

pytestmark = pytest.mark.anyio
CHILD = "job_06h00r4h1trtr7pjt7b69j1f04.queue_emails.global"


def config(name: str = "queue_emails", *, seconds: float = 30.0) -> SurfaceConfig:
    return SurfaceConfig(
        name=name, adapter="asyncqueue", timeout_seconds=seconds, reachable=("127.0.0.0/8",)
    )


@pytest.fixture
async def call():
    """Has a task's URL called."""
    made = []

    async def call(url: str, *, seconds: float = 30.0, payload=None, **changes):
        made.append(asyncqueue.build(config(seconds=seconds)))
        request = base.CaptureRequest(
            child=CHILD,
            query="My queue",
            surface="queue_emails",
            country="GLOBAL",
            options={"url": url, "queue": "My queue", "payload": payload},
            **changes,
        )
        return await base.run(made[-1], request, timeout_seconds=seconds)

    yield call
    for adapter in made:
        await adapter.close()


class Endpoint:
    """Remembers how it was called."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.headers = None
        self.body = b""

    async def __call__(self, request: web.Request) -> web.Response:
        self.headers, self.body = request.headers, await request.read()
        return web.Response(status=self.status, headers={"Retry-After": "3000"})


async def failure(call, url: str, **changes) -> SurfaceError:
    with pytest.raises(SurfaceError) as caught:
        await call(url, **changes)
    return caught.value


@pytest.mark.parametrize("payload", [None, {"to": "ann", "n": [1, None]}, "text", 10**30])
async def test_the_payload_is_posted_with_the_task(call, serve, payload):
    """By its id, the name its client gave the queue, and the number of the call."""
    endpoint = Endpoint()
    await call(await serve(endpoint) + "/work", payload=payload, attempt=3)
    assert json.loads(endpoint.body) == {
        "task_id": "task_06h00r4h1trtr7pjt7b69j1f04",
        "queue": "My queue",
        "payload": payload,
        "attempt": 3,
    }
    assert endpoint.headers["Content-Type"] == "application/json"
    assert "X-AsyncQueue-Signature" not in endpoint.headers


async def test_the_call_is_signed_with_the_secret(call, serve):
    """`t=<unix>,v1=<hex HMAC-SHA256 of "<t>.<body>">`, the text of the secret as the key."""
    endpoint, secret = Endpoint(), "whsec_c2VjcmV0"
    await call(await serve(endpoint), secret=secret)
    moment, _, signature = endpoint.headers["X-AsyncQueue-Signature"].partition(",v1=")
    signed = moment.removeprefix("t=").encode() + b"." + endpoint.body
    assert signature == hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


async def test_a_secret_that_cannot_be_read_signs_nothing(call, serve):
    """Nobody is called unsigned who expects a signature; it may be readable later."""
    endpoint = Endpoint()
    error = await failure(call, await serve(endpoint), secret=UNREADABLE)
    assert (error.code, error.permanent) == ("SECRET_UNREADABLE", False)
    assert endpoint.headers is None


@pytest.mark.parametrize("status", [200, 202, 204, 299])
async def test_any_2xx_is_the_end(call, serve, status):
    """With its status; what it says besides is thrown away."""
    captured = await call(await serve(Endpoint(status)))
    capture = captured.capture
    assert (capture.response_code, capture.answer.text, capture.raw) == (status, "", None)
    assert (capture.provenance.surface_present, capture.provenance.method) == (True, "webhook")


@pytest.mark.parametrize("status", [301, 400, 404, 410, 429, 500, 503])
async def test_anything_else_may_pass(call, serve, status):
    """It is called again, whatever it said, by the queue's own pauses."""
    error = await failure(call, await serve(Endpoint(status)))
    assert (error.code, error.response_code) == ("UPSTREAM_STATUS", status)
    assert (error.permanent, error.retry_after_seconds) == (False, None)


async def test_who_says_2xx_and_then_hangs_up_has_said_it(call, listen):
    """The body that is missing is not waited for."""

    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()

    captured = await call(f"http://127.0.0.1:{await listen(talk)}/")
    assert captured.capture.response_code == 200


async def test_an_address_that_may_not_be_called_never_is(call):
    """It was allowed when the task came in, perhaps; to try again cannot help."""
    error = await failure(call, "http://10.0.0.1/")
    assert (error.code, error.permanent) == ("ADDRESS_FORBIDDEN", True)


async def test_nobody_there_may_pass(call, listen):
    """Nobody listens, or says nothing in the queue's time."""

    async def silent(reader, writer):
        await reader.read()

    port = await listen(silent)
    error = await failure(call, f"http://127.0.0.1:{port}/", seconds=0.2)
    assert (error.code, error.permanent) == ("UPSTREAM_TIMEOUT", False)


def test_it_is_for_queues_alone():
    """A surface cannot be configured so: nobody would check what it is asked."""
    with pytest.raises(OptionError, match="queues"):
        asyncqueue.build(config("mine"))


def test_what_is_published_of_a_queue():
    """Its one country, and that its calls say nothing of each other."""
    adapter = asyncqueue.build(config())
    described = discovery.describe(config(), adapter)
    assert (described.countries, described.learns) == (("GLOBAL",), False)
