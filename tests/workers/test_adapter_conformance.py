"""What every adapter promises, held against every adapter."""

import asyncio

import jsonschema
import msgspec
import pytest
from aiohttp import web

from orchestrator import configuration
from orchestrator.domain.envelope import Capture
from orchestrator.errors import ConfigError
from tests.workers import upstreams
from tests.workers.upstreams import UPSTREAMS
from workers.adapters import base, discovery

pytestmark = pytest.mark.anyio

SIMULATED = {
    "simulator": "answer_chars = 200",
    "simulator with latency": "latency_ms = [1, 5]",
}
SURFACES = [*SIMULATED, *UPSTREAMS]


@pytest.fixture(params=SURFACES)
def name(request):
    return request.param


@pytest.fixture
async def served(serve, name):
    """Where the upstream is that answers with what it was asked."""

    async def upstream(request: web.Request) -> web.Response:
        told = UPSTREAMS[name]
        return web.Response(body=told.reply(await told.words(request)), content_type=told.kind)

    return await serve(upstream)


@pytest.fixture
async def loaded(name, served, tmp_path):
    options = SIMULATED.get(name) or UPSTREAMS[name].options
    return upstreams.load(tmp_path / "p.toml", upstreams.adapter_of(name), options, served)


@pytest.fixture
async def adapter(loaded):
    built = discovery.build(loaded, "s")
    yield built
    await built.close()


@pytest.fixture
def request_for(name, served):
    """A request with these words."""
    told = UPSTREAMS.get(name, UPSTREAMS["http text"])

    def make(words: str = "best tea", **changes) -> base.CaptureRequest:
        return told.request(served, words, **changes)

    return make


async def test_a_capture_is_whole(adapter, loaded, request_for):
    """A capture survives its JSON and says where it came from, when and by whom."""
    captured = await base.run(adapter, request_for(), timeout_seconds=30)
    assert msgspec.json.decode(captured.json, type=Capture) == captured.capture
    seen = captured.capture.provenance
    assert seen.adapter == loaded.surfaces["s"].adapter
    assert (seen.method, seen.region.requested) == (adapter.method, "GB")
    assert (seen.surface_present, captured.capture.warnings) == (True, ())
    assert seen.captured_at is not None
    assert captured.capture.answer.text
    assert captured.capture.answer.markdown


async def test_ranges_and_references_hold(adapter, request_for):
    """Source ids count from 1, references exist, and ranges lie inside the answer."""
    capture = (await base.run(adapter, request_for(), timeout_seconds=30)).capture
    ids = [source.id for source in capture.evidence.sources]
    assert ids == list(range(1, len(ids) + 1))
    for block in capture.answer.blocks:
        assert set(block.reference_ids) <= set(ids)
    for source in capture.evidence.sources:
        for begin, end in source.char_ranges:
            assert 0 <= begin < end <= len(capture.answer.text)


@pytest.mark.parametrize("name", [name for name in SURFACES if name != "page"], indirect=True)
async def test_any_query_can_be_asked(adapter, request_for):
    """No query breaks an adapter, and what it brings home can be stored."""
    for query in ("\0\ud800", "日本 ¿?&=#/..", "x" * 5_000, "{country}", "'\"<\\"):
        captured = await base.run(adapter, request_for(query), timeout_seconds=30)
        assert b"\\u0000" not in captured.json.replace(b"\\\\", b"")


async def test_many_at_once_do_not_mix(adapter, request_for):
    """Captures that run at the same time each answer their own query."""
    words = [f"question-{number}." for number in range(1, 60)]
    runs = (base.run(adapter, request_for(one), timeout_seconds=30) for one in words)
    captures = [captured.capture for captured in await asyncio.gather(*runs)]
    for one, capture in zip(words, captures, strict=True):
        assert one in capture.answer.text


async def test_a_canceled_capture_ends(adapter, request_for):
    """Cancellation ends a capture at once, and the adapter serves the next as before."""
    running = [
        asyncio.ensure_future(base.run(adapter, request_for(attempt=n), timeout_seconds=30))
        for n in range(20)
    ]
    await asyncio.sleep(0)
    for task in running:
        task.cancel()
    ends = await asyncio.gather(*running, return_exceptions=True)
    assert all(isinstance(end, base.Captured | asyncio.CancelledError) for end in ends)
    assert (await base.run(adapter, request_for(), timeout_seconds=30)).capture.answer.text


async def test_its_schema_is_one(adapter, request_for):
    """The published options schema is valid, and refuses an option nobody knows."""
    validator = jsonschema.Draft202012Validator(adapter.options_schema)
    validator.check_schema(adapter.options_schema)
    asked = request_for().options
    assert validator.is_valid(asked)
    assert not validator.is_valid(asked | {"nobody_knows_this": 1})


async def test_its_descriptor_holds_no_options(adapter, loaded):
    """What a worker publishes names the surface and none of its options."""
    described = discovery.describe(loaded.surfaces["s"], adapter)
    assert (described.name, described.method) == ("s", adapter.method)
    assert b"127.0.0.1" not in msgspec.json.encode(described)


async def test_unknown_options_stop_the_start(loaded):
    """An option the adapter does not know is refused with its line."""
    loaded.surfaces["s"].options["nobody_knows_this"] = 1
    with pytest.raises(ConfigError, match=r"p\.toml:3: .*nobody_knows_this: unknown option"):
        discovery.build(loaded, "s")


def test_our_adapters_are_found():
    """The adapters of this package are entry points like anyone's."""
    assert {"http", "simulator", "webhook"} <= set(discovery.names())


def test_an_adapter_nobody_installed_is_refused(tmp_path):
    """An unknown adapter is refused by its line, with a list of those there are."""
    path = tmp_path / "p.toml"
    path.write_text("[surfaces.s]\nadapter = 'telepathy'\n")
    with pytest.raises(ConfigError, match=r"p\.toml:2: .*'telepathy'.*asyncqueue, gemini, http"):
        discovery.build(configuration.load(path), "s")


async def test_a_broken_adapter_is_a_failure_that_may_pass():
    """An adapter that raises what it should not ends its child, not the worker."""

    class Broken:
        method = "http"
        options_schema: dict = {}  # noqa: RUF012 - a test's stand-in
        countries = None
        instant = False

        async def capture(self, request):
            raise ZeroDivisionError

        async def close(self):
            pass

    asked = base.CaptureRequest(child="job_1.s.gb", query="tea", surface="s", country="GB")
    with pytest.raises(base.SurfaceError) as caught:
        await base.run(Broken(), asked, timeout_seconds=30)
    assert (caught.value.code, caught.value.permanent) == ("ADAPTER_ERROR", False)
