import asyncio
import json

import pytest
from aiohttp import web

from orchestrator import configuration
from orchestrator.errors import ConfigError
from orchestrator.surfaces import RegionConfig, SurfaceConfig
from workers.adapters import base, discovery, http
from workers.errors import SurfaceError

pytestmark = pytest.mark.anyio


@pytest.fixture
async def surface(serve):
    """A surface on a server of this test's own, and what that server saw."""
    made = []

    async def make(handler, *, path="/", raw=False, regions=None, seconds=30.0, **options):
        options["url"] = await serve(handler) + path
        config = SurfaceConfig(
            name="site",
            adapter="http",
            timeout_seconds=seconds,
            raw=raw,
            options=options,
            regions=regions or {},
        )
        made.append(http.build(config))
        return made[-1]

    yield make
    for adapter in made:
        await adapter.close()


async def ask(adapter, **changes):
    fields = {"child": "job_1.site.gb", "query": "tea & 日本?", "surface": "site", "country": "GB"}
    request = base.CaptureRequest(**fields | changes)
    return (await base.run(adapter, request, timeout_seconds=30)).capture


async def test_the_request_is_as_configured(surface):
    """URL, headers and body carry the cell; the region adds its headers and its language."""
    seen = []

    async def handler(request):
        seen.append((request.method, request.query, await request.json(), request.headers))
        return web.json_response({"t": "tea"})

    adapter = await surface(
        handler,
        path="/find?q={query}&cc={country}&in={city}&l={language}",
        headers={"X-Key": "k", "X-Q": "{query}", "X-Geo": "none"},
        body={"q": "{query}", "n": 1},
        text="t",
        regions={"GB": RegionConfig(headers={"x-geo": "gb"})},
    )
    await ask(adapter, city="Bath", language="cy")
    method, query, body, headers = seen[0]
    assert method == "POST"
    assert dict(query) == {"q": "tea & 日本?", "cc": "GB", "in": "Bath", "l": "cy"}
    assert body == {"q": "tea & 日本?", "n": 1}
    assert headers["Accept-Language"] == "cy-GB,cy;q=0.9"
    assert (headers["X-Key"], headers["X-Geo"]) == ("k", "gb")
    assert headers["X-Q"] == "tea%20%26%20%E6%97%A5%E6%9C%AC%3F"
    assert headers["Content-Type"] == "application/json"


async def test_a_configured_language_wins(surface):
    """The region's own `Accept-Language` is sent instead of the derived one, once."""
    seen = []

    async def handler(request):
        seen.extend(request.headers.getall("Accept-Language"))
        return web.json_response({"t": "tea"})

    regions = {"GB": RegionConfig(headers={"Accept-Language": "tlh"})}
    adapter = await surface(handler, text="t", headers={"accept-LANGUAGE": "x"}, regions=regions)
    await ask(adapter)
    await ask(adapter, country="US")
    assert seen == ["tlh", "x"]


@pytest.mark.parametrize(
    ("options", "body", "expected"),
    [
        ({"text": "t"}, '{"t": "tea", "x": [1]}', {"t": "tea", "x": [1]}),
        ({"format": "html"}, "<p>tea</p>", "<p>tea</p>"),
        ({"format": "text"}, "tea", "tea"),
    ],
)
@pytest.mark.parametrize("raw", [True, False])
async def test_raw_keeps_the_body(surface, options, body, expected, raw):
    """`raw` keeps the upstream's body, a JSON value or text; without it there is none."""

    async def handler(request):
        return web.Response(text=body)

    capture = await ask(await surface(handler, raw=raw, **options))
    assert capture.answer.text == "tea"
    assert capture.raw == (expected if raw else None)


@pytest.mark.parametrize(
    ("options", "body"),
    [({"text": "t"}, '{"t": " "}'), ({"text": "t"}, "{}"), ({"format": "html"}, "<p></p>")],
)
async def test_an_empty_answer_is_an_absent_surface(surface, options, body):
    """A reply that shows nothing is a capture that says so."""

    async def handler(request):
        return web.Response(text=body)

    capture = await ask(await surface(handler, path="/?cc={country}", **options))
    assert capture.provenance.surface_present is False
    assert [warning.code for warning in capture.warnings] == ["surface_absent"]
    assert capture.answer.text == ""


async def test_provenance(surface):
    """A capture says who took it, how, from where and when."""

    async def handler(request):
        return web.json_response({"t": "tea"})

    seen = (await ask(await surface(handler, text="t"))).provenance
    assert (seen.adapter, seen.method, seen.region.requested) == ("http", "http", "GB")
    assert seen.surface_present
    assert seen.captured_at.endswith("Z")


async def test_the_surface_s_time_out_counts(surface):
    """A surface that is slower than its `timeout` ends as `UPSTREAM_TIMEOUT`."""

    async def handler(request):
        await request.content.read()
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(30)
        return response

    with pytest.raises(SurfaceError) as caught:
        await ask(await surface(handler, text="t", seconds=0.05))
    assert caught.value.code == "UPSTREAM_TIMEOUT"


URL = 'url = "http://h.example/?q={query}"\n'


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("text = 't'", "3: surfaces.s.options.url: missing"),
        (URL, "3: surfaces.s.options: `text` or `markdown` is missing"),
        (URL + "text = 'a.['", "5: surfaces.s.options.text: not a JMESPath expression"),
        (URL + "format = 'xml'", "5: surfaces.s.options.format: Input should be 'json', 'html'"),
        (
            URL + "format = 'html'\nsources = 'a'",
            "3: surfaces.s.options: `text`, `markdown`, `sources`",
        ),
        ("url = 'http://{query}/'\ntext='t'", "4: surfaces.s.options.url: a placeholder cannot"),
        (URL + "text = 't'\nmethod = 'get'", "6: surfaces.s.options.method: "),
        (URL + "text = 't'\nbody = 'x'", "6: surfaces.s.options.body."),
        (URL + "text = 't'\nheaders = {'A B' = ''}", "6: surfaces.s.options.headers.A B"),
        (URL + "text = 't'\nmax_bytes = 0", "6: surfaces.s.options.max_bytes: "),
        (URL + "text = 't'\nread_timeout = '5'", "6: surfaces.s.options.read_timeout: write"),
        (URL + "text = 't'\ncookies = 1", "6: surfaces.s.options.cookies: unknown option"),
    ],
)
def test_bad_options_are_placed(tmp_path, options, expected):
    """A fault of an option stops the start with file, line, key and reason."""
    path = tmp_path / "p.toml"
    path.write_text(f"[surfaces.s]\nadapter = 'http'\n[surfaces.s.options]\n{options}\n")
    with pytest.raises(ConfigError) as caught:
        discovery.build(configuration.load(path), "s")
    assert str(caught.value).startswith(f"{path}:{expected}")


def test_no_fault_of_an_option_shows_its_value(tmp_path):
    """A refused option may hold a secret, and the message does not repeat it."""
    path = tmp_path / "p.toml"
    path.write_text(
        "[surfaces.s]\nadapter = 'http'\n[surfaces.s.options]\nurl = '${K}'\ntext = '${K}['\n"
        "method = '${K}'\nformat = '${K}'\nheaders = {a = '${K}\\n'}\n"
    )
    with pytest.raises(ConfigError) as caught:
        discovery.build(configuration.load(path, environment={"K": "hunter2"}), "s")
    assert "hunter2" not in str(caught.value)


def test_json_bodies_are_json(tmp_path):
    """A body in the file may be any table or list."""
    path = tmp_path / "p.toml"
    path.write_text(
        "[surfaces.s]\nadapter='http'\n[surfaces.s.options]\nurl='http://h/'\ntext='t'\n"
        "[surfaces.s.options.body]\nmessages = [{role = 'user', content = '{query}'}]\n"
    )
    body = configuration.load(path).surfaces["s"].options["body"]
    assert json.loads(json.dumps(body)) == {"messages": [{"role": "user", "content": "{query}"}]}
    assert discovery.build(configuration.load(path), "s").method == "http"
