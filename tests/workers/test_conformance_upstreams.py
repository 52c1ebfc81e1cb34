"""What every adapter that calls an upstream promises when that does not do as it should."""

import asyncio
import traceback
from collections.abc import Callable

import pytest
from aiohttp import web

from tests.waiting import eventually
from tests.workers import upstreams
from tests.workers.upstreams import SECRET, UPSTREAMS
from workers.adapters import base, discovery
from workers.adapters.webhook import KEEP_BYTES
from workers.errors import SurfaceError

pytestmark = pytest.mark.anyio


@pytest.fixture(params=UPSTREAMS)
def name(request):
    return request.param


@pytest.fixture
def told(name):
    return UPSTREAMS[name]


class Server:
    """An upstream that does what its test wants, and knows who is connected to it."""

    def __init__(self, told) -> None:
        self._told = told
        self.handler = self.answer
        self.reached = asyncio.Event()
        self._server = web.Server(self._handle, handler_cancellation=True)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=0.1)

    async def open(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        await self._runner.cleanup()

    async def left(self) -> bool:
        """Whether nobody is connected any more."""
        return not self._server.connections

    async def answer(self, request):
        return web.Response(body=await self.body(request), content_type=self._told.kind)

    async def body(self, request) -> bytes:
        return self._told.reply(await self._told.words(request))

    async def begin(self, request, **headers) -> web.StreamResponse:
        """A reply whose body is still to come."""
        response = web.StreamResponse(headers={"Content-Type": self._told.kind} | headers)
        await response.prepare(request)
        return response

    async def fall_silent(self, request):
        """Before the first word of a reply."""
        self.reached.set()
        await asyncio.Event().wait()

    async def stop_halfway(self, request):
        """In the middle of a reply."""
        body = await self.body(request)
        response = await self.begin(request, **{"Content-Length": str(len(body))})
        await response.write(body[: len(body) // 2])
        self.reached.set()
        await asyncio.Event().wait()

    async def _handle(self, request):
        return await self.handler(request)


@pytest.fixture
async def server(told):
    server = Server(told)
    yield server
    await server.close()


@pytest.fixture
async def url(server):
    return await server.open()


@pytest.fixture
async def surface(name, told, url, tmp_path):
    """The surface, its time-out as its test wants it."""
    made = []

    def make(*, seconds=30.0, **options):
        loaded = upstreams.load(tmp_path / "p.toml", upstreams.adapter_of(name), told.options, url)
        changed = upstreams.changed(loaded, seconds=seconds, **options)
        made.append(discovery.build(changed, "s"))
        return made[-1]

    yield make
    for adapter in made:
        await adapter.close()


@pytest.fixture
def ask(told, url):
    async def ask(adapter, words="best tea"):
        request = told.request(url, words)
        return (await base.run(adapter, request, timeout_seconds=30)).capture

    return ask


@pytest.fixture
def refused(ask):
    async def refused(adapter) -> SurfaceError:
        with pytest.raises(SurfaceError) as caught:
            await ask(adapter)
        return caught.value

    return refused


async def test_a_status_says_whether_to_try_again_and_when(server, surface, refused):
    """401 is for good; 429 and 500 may pass, after as long as the upstream says."""
    adapter = surface()
    for status, after, expected in (
        (401, "7", (True, None)),
        (429, "7", (False, 7.0)),
        (429, None, (False, None)),
        (500, None, (False, None)),
    ):
        headers = {"Retry-After": after} if after else {}
        server.handler = replying(status=status, headers=headers, text="no")
        error = await refused(adapter)
        assert (error.code, error.response_code) == ("UPSTREAM_STATUS", status)
        assert (error.permanent, error.retry_after_seconds) == expected


@pytest.mark.parametrize(
    "name", [name for name, told in UPSTREAMS.items() if told.strict], indirect=True
)
async def test_a_malformed_reply(server, surface, refused):
    """Is a bad response, and the next may be a better one."""
    adapter = surface()
    for body in (b"", b"<html>", b"\xff\xfe", b"{" * 9):
        server.handler = replying(body=body, content_type="application/json")
        error = await refused(adapter)
        assert (error.code, error.permanent) == ("BAD_RESPONSE", False)


def replying(**reply) -> Callable:
    async def handler(request):
        return web.Response(**reply)

    return handler


async def test_a_reply_that_breaks_off(server, surface, refused):
    """Half of it is no reply."""

    async def break_off(request):
        body = await server.body(request)
        response = await server.begin(request, **{"Content-Length": str(len(body))})
        await response.write(body[: len(body) // 2])
        request.transport.close()
        return response

    server.handler = break_off
    error = await refused(surface())
    assert (error.code, error.permanent) == ("BAD_RESPONSE", False)


@pytest.mark.parametrize(
    "name", [name for name, told in UPSTREAMS.items() if told.whole], indirect=True
)
async def test_a_reply_without_end(server, surface, refused):
    """No more of it is read than may be, and its connection is closed."""
    server.handler = endless(server)
    error = await refused(surface(max_bytes=100_000))
    assert (error.code, error.permanent) == ("RESPONSE_TOO_LARGE", True)
    await eventually(server.left)


@pytest.mark.parametrize("name", ["webhook"], indirect=True)
async def test_a_reply_without_end_whose_beginning_is_kept(server, surface, ask):
    """A webhook's reply is the client's own: what is beyond the limit is left unread, and told."""
    server.handler = endless(server)
    capture = await ask(surface())
    assert len(capture.answer.text) == KEEP_BYTES
    assert [warning.code for warning in capture.warnings] == ["reply_truncated"]
    await eventually(server.left)


def endless(server) -> Callable:
    async def handler(request):
        response = await server.begin(request)
        while True:
            await response.write(b"x" * 65_536)

    return handler


async def test_a_reply_byte_by_byte(server, surface, ask):
    """Is as good as one in a piece."""

    async def drip(request):
        response = await server.begin(request)
        for byte in await server.body(request):
            await response.write(bytes([byte]))
        return response

    adapter = surface()
    whole = await ask(adapter, "日本 tea 👟")
    assert "日本 tea 👟" in whole.answer.text
    server.handler = drip
    dripped = await ask(adapter, "日本 tea 👟")
    assert (dripped.answer, dripped.evidence) == (whole.answer, whole.evidence)


async def test_an_upstream_that_takes_too_long(server, surface, refused):
    """It gets the surface's time and no more; nothing of the call is left open."""
    before = asyncio.all_tasks()
    adapter = surface(seconds=0.1)
    for moment in (server.fall_silent, server.stop_halfway):
        server.handler = moment
        error = await refused(adapter)
        assert (error.code, error.permanent) == ("UPSTREAM_TIMEOUT", False)
        await eventually(server.left)
        await eventually(lambda: ended(before))


async def test_canceled_in_mid_call(server, surface, ask):
    """Nothing of the call is left open, and the next capture is as good as any."""
    before = asyncio.all_tasks()
    adapter = surface()
    for moment in (server.fall_silent, server.stop_halfway):
        server.handler = moment
        running = asyncio.ensure_future(ask(adapter))
        await server.reached.wait()
        server.reached.clear()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await eventually(server.left)
        await eventually(lambda: ended(before))
    server.handler = server.answer
    assert "best tea" in (await ask(adapter)).answer.text


async def ended(before) -> bool:
    return asyncio.all_tasks() <= before


async def test_no_failure_tells_a_secret(server, surface, refused, told, capfd):
    """Neither the message nor a log has a key, though the upstream repeats it wherever it can."""
    adapter = surface()
    repeated = {"Location": f"ftp://{SECRET}/", "Retry-After": SECRET}
    for status in (302, 400, 401, 429, 500):
        server.handler = replying(status=status, reason=SECRET, text=told.error, headers=repeated)
        error = await refused(adapter)
        assert SECRET not in "".join(traceback.format_exception(error))
    server.handler = server.stop_halfway
    error = await refused(surface(seconds=0.1))
    assert SECRET not in "".join(traceback.format_exception(error))
    assert SECRET not in "".join(capfd.readouterr())
