"""The `webhook` adapter: what the caller's endpoint is asked, and what becomes of its reply."""

import asyncio
import gzip
import zlib

import pytest
from aiohttp import web

from orchestrator import configuration
from orchestrator.domain.addresses import networks
from orchestrator.errors import ConfigError
from orchestrator.settings import Settings
from orchestrator.surfaces import SurfaceConfig
from workers.adapters import base, discovery, webhook
from workers.adapters.webhook import KEEP_BYTES
from workers.errors import SurfaceError
from workers.quarantine import Quarantine

pytestmark = pytest.mark.anyio


def config(*reachable: str, seconds: float = 30.0) -> SurfaceConfig:
    return SurfaceConfig(
        name="hook", adapter="webhook", timeout_seconds=seconds, reachable=reachable
    )


def asked(url: str, *, payload: object = None, **changes) -> base.CaptureRequest:
    options = {"url": url} if payload is None else {"url": url, "payload": payload}
    fields = {"child": "job_1.hook.gb", "query": "tea & 日本?", "surface": "hook", "country": "GB"}
    return base.CaptureRequest(**fields | {"options": options} | changes)


@pytest.fixture
async def ask():
    """Asks an endpoint on this machine."""
    made = []

    async def ask(url: str, *, seconds: float = 30.0, **changes):
        made.append(webhook.build(config("127.0.0.0/8", seconds=seconds)))
        captured = await base.run(made[-1], asked(url, **changes), timeout_seconds=30)
        return captured.capture

    yield ask
    for adapter in made:
        await adapter.close()


async def failure(ask, url: str, **changes) -> SurfaceError:
    with pytest.raises(SurfaceError) as caught:
        await ask(url, **changes)
    return caught.value


async def test_the_question_is_posted_as_json(ask, serve):
    """The cell's id, query and region, the caller's payload, and which attempt this is."""
    seen = []

    async def handler(request):
        seen.append((request.method, request.path, await request.json(), request.headers))
        return web.Response(text="tea")

    url = await serve(handler)
    payload = {"deep": [1, None, "ü"]}
    await ask(url + "/hook", payload=payload, city="Bath", language="cy", attempt=3)
    method, path, body, headers = seen[0]
    assert (method, path) == ("POST", "/hook")
    assert body == {
        "id": "job_1.hook.gb",
        "query": "tea & 日本?",
        "surface": "hook",
        "region": {"country": "GB", "city": "Bath", "language": "cy"},
        "payload": payload,
        "attempt": 3,
    }
    assert headers["Content-Type"] == "application/json"
    assert headers["User-Agent"] == "parallax-orchestrator"
    await ask(url)
    assert (seen[1][2]["region"], seen[1][2]["payload"]) == ({"country": "GB"}, None)


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_the_reply_is_the_answer(ask, serve, status):
    """Its text; status, headers and body are kept beside it, whatever the surface says of `raw`."""

    async def handler(request):
        return web.Response(status=status, text="tea", headers={"X-Run": "7"})

    capture = await ask(await serve(handler))
    assert (capture.answer.text, capture.answer.markdown) == ("tea", "tea")
    assert (capture.raw["status"], capture.raw["body"]) == (status, "tea")
    assert capture.raw["headers"]["x-run"] == "7"
    seen = capture.provenance
    assert (seen.adapter, seen.method, seen.region.requested) == ("webhook", "webhook", "GB")
    assert (seen.surface_present, capture.warnings) == (True, ())


async def test_an_empty_reply_is_an_answer_too(ask, serve):
    """204: the endpoint was there and took it."""

    async def handler(request):
        return web.Response(status=204)

    capture = await ask(await serve(handler))
    assert (capture.answer.text, capture.raw["body"]) == ("", "")
    assert capture.provenance.surface_present is True


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("tè".encode(), "text/plain", "tè"),
        ("tè".encode("latin-1"), "text/plain; charset=latin-1", "tè"),
        ("tè".encode("utf-16"), "text/plain", "tè"),
        (b"t\xe8", "application/json; charset=utf-8", "t\ufffd"),
        (b"t\xe8", "text/plain", "tè"),
    ],
)
async def test_the_text_is_read_in_its_charset(ask, serve, body, content_type, text):
    """Whatever it is: nothing that an endpoint sends is refused for its bytes."""

    async def handler(request):
        return web.Response(body=body, headers={"Content-Type": content_type})

    assert (await ask(await serve(handler))).answer.text == text


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"x" * KEEP_BYTES, KEEP_BYTES),
        (b"x" * (KEEP_BYTES + 1), KEEP_BYTES),
        ("日".encode() * KEEP_BYTES, KEEP_BYTES // 3),
        (b"x" * (3 * KEEP_BYTES), KEEP_BYTES),
    ],
)
@pytest.mark.parametrize("encode", [bytes, gzip.compress])
async def test_of_a_long_reply_the_beginning_is_kept(ask, serve, body, kept, encode):
    """No character is cut in two, compressed or not, and a warning tells it."""

    async def handler(request):
        coding = {"Content-Encoding": "gzip"} if encode is gzip.compress else {}
        return web.Response(body=encode(body), headers=coding)

    capture = await ask(await serve(handler))
    assert capture.answer.text == body.decode()[:kept]
    cut = ["reply_truncated"] if len(body) > KEEP_BYTES else []
    assert [warning.code for warning in capture.warnings] == cut


async def test_a_bomb_does_not_go_off(ask, serve):
    """Of 200 MB in 200 KB of deflate the first 64 KB are undone."""
    bomb = zlib.compress(b"\1" * 200_000_000, 9)

    async def handler(request):
        return web.Response(body=bomb, headers={"Content-Encoding": "deflate"})

    assert (await ask(await serve(handler))).answer.text == "\1" * KEEP_BYTES


@pytest.mark.parametrize(
    ("status", "permanent", "after"),
    [
        (301, True, None),
        (302, True, None),
        (307, True, None),
        (400, True, None),
        (404, True, None),
        (410, True, None),
        (408, False, 7),
        (429, False, 7),
        (500, False, 7),
        (503, False, 7),
    ],
)
async def test_a_status_other_than_2xx_is_a_failure(ask, serve, status, permanent, after):
    """408, 425, 429 and 5xx may pass, and say when; a redirect is not followed, and told so."""

    async def handler(request):
        return web.Response(status=status, headers={"Retry-After": "7", "Location": "/there"})

    error = await failure(ask, await serve(handler))
    assert (error.code, error.response_code) == ("UPSTREAM_STATUS", status)
    assert (error.permanent, error.retry_after_seconds) == (permanent, after)
    assert ("redirects are not followed" in error.message) == (300 <= status < 400)


async def test_the_surface_s_time_out_counts(ask, serve):
    """An endpoint slower than the surface's `timeout` ends as `UPSTREAM_TIMEOUT`."""

    async def handler(request):
        await asyncio.Event().wait()

    error = await failure(ask, await serve(handler), seconds=0.1)
    assert (error.code, error.permanent) == ("UPSTREAM_TIMEOUT", False)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "0x7f.1"])
async def test_without_reachable_networks_this_machine_is_not_called(serve, host):
    """Even if nobody looked at the URL when it was submitted."""
    seen = []

    async def handler(request):
        seen.append(request.path)
        return web.Response()

    adapter = webhook.build(config())
    url = (await serve(handler)).replace("127.0.0.1", host)
    with pytest.raises(SurfaceError) as caught:
        await base.run(adapter, asked(url), timeout_seconds=30)
    await adapter.close()
    assert (caught.value.code, caught.value.permanent) == ("ADDRESS_FORBIDDEN", True)
    assert seen == []


async def test_what_may_be_reached_is_known_in_a_process_of_its_own(serve, tmp_path):
    """A child in quarantine calls what it would have called anywhere, and nothing else."""

    async def handler(request):
        return web.Response(text="tea")

    url = await serve(handler)
    quarantine = Quarantine(Settings(config=tmp_path / "p.toml"), memory_bytes=0)
    captured = await quarantine.capture(config("127.0.0.0/8"), asked(url))
    assert captured.capture.answer.text == "tea"
    with pytest.raises(SurfaceError) as caught:
        await quarantine.capture(config("10.0.0.0/8"), asked(url))
    assert caught.value.code == "ADDRESS_FORBIDDEN"
    quarantine.close()


def test_it_has_no_options_of_its_own(tmp_path):
    """Whom to call is said with each job; a URL in the file stops the start."""
    path = tmp_path / "p.toml"
    path.write_text("[surfaces.s]\nadapter = 'webhook'\n[surfaces.s.options]\nurl = 'http://h/'\n")
    loaded = configuration.load(path, reachable=networks("10.0.0.0/8"))
    with pytest.raises(ConfigError, match=r"p\.toml:4: surfaces\.s\.options\.url: unknown option"):
        discovery.build(loaded, "s")
