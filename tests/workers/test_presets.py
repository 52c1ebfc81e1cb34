"""The presets of the `http` adapter, each against its API's contract, served on loopback."""

import re
import socket
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from orchestrator import configuration
from orchestrator.domain import known
from orchestrator.errors import ConfigError
from tests.workers import serps
from tests.workers.serps import KEY, QUERY, Serp
from workers.adapters import base, discovery, presets
from workers.errors import SurfaceError

pytestmark = pytest.mark.anyio
SERPS = {serp.preset: serp for serp in serps.every()}
OPEN = ("feed", "json")
"""Presets of no service: their address is the user's own."""
VARIABLES = ("SERPAPI_API_KEY", "SEARCHAPI_API_KEY", "DATAFORSEO_AUTH")
_URL = re.compile(r'^url = "https?://[^/]+(.*)"', re.MULTILINE)


class Asked(NamedTuple):
    """A call as the server saw it."""

    path: str
    params: list[tuple[str, str]]
    body: object
    headers: dict[str, str]


class Api:
    """A server that keeps what it is asked, and answers what it is told to."""

    def __init__(self):
        self.asked = []
        self.status, self.reply = 200, {}

    async def handle(self, request):
        raw = request.raw_path.partition("?")[2]
        params = parse_qsl(raw, keep_blank_values=True, strict_parsing=bool(raw))
        body = await request.json() if request.can_read_body else None
        self.asked.append(Asked(request.path, params, body, dict(request.headers)))
        if isinstance(self.reply, str):
            return web.Response(status=self.status, text=self.reply)
        return web.json_response(self.reply, status=self.status)


@pytest.fixture
def api():
    return Api()


@pytest.fixture
async def home(serve, api):
    return await serve(api.handle)


@pytest.fixture
def keys(monkeypatch):
    for variable in VARIABLES:
        monkeypatch.setenv(variable, KEY)


def pasted(preset, home):
    """The shipped file as it is, but for the host it calls."""
    return _URL.sub(rf'url = "{home}\1"', presets.text(preset))


def named(preset, home):
    """A surface that takes the preset over and says no more than where it is."""
    path = _URL.search(presets.text(preset))[1]
    return (
        f'[surfaces.s]\nadapter = "http"\noptions = {{preset = "{preset}", url = "{home}{path}"}}\n'
    )


@pytest.fixture
async def load(tmp_path, keys):
    """Reads a file and builds the adapter of its surface; closes it in the end."""
    made = []

    def load(text):
        path = tmp_path / "parallax.toml"
        path.write_text(text)
        loaded = configuration.load(path)
        made.append(discovery.build(loaded, next(iter(loaded.surfaces))))
        return made[-1]

    yield load
    for adapter in made:
        await adapter.close()


async def ask(adapter, **changes):
    fields = {"child": "job_1.s.tw", "query": QUERY, "surface": "s", "country": "TW"}
    return (
        await base.run(adapter, base.CaptureRequest(**fields | changes), timeout_seconds=30)
    ).capture


def test_each_preset_has_its_contract():
    """What is shipped is what is tested here, and what a refusal of a well-known surface names."""
    assert set(presets.names()) == {*SERPS, *OPEN}
    assert {name for some in known.PRESETS.values() for name in some} == set(SERPS)
    for surface, some in known.PRESETS.items():
        assert some, surface
        assert all(f"[surfaces.{surface}]" in presets.text(preset) for preset in some)
    assert {known.KEYS[known.service(preset)] for preset in SERPS} == set(VARIABLES)
    assert set(known.ADAPTERS.values()) <= set(discovery.names()) & set(known.KEYS)


@pytest.mark.parametrize("way", [pasted, named])
@pytest.mark.parametrize("serp", SERPS.values(), ids=SERPS)
async def test_a_preset_calls_and_reads_its_api(load, api, home, way, serp: Serp):
    """The call is the contract's, every value whole in its place; its answer and sources are read.

    What of the region the API cannot be told is warned of.
    """
    api.reply = serp.found
    capture = await ask(load(way(serp.preset, home)), city="Taipei", language="zh-Hant")
    (asked,) = api.asked
    assert (asked.path, dict(asked.params), asked.body) == (serp.path, serp.params, serp.body)
    assert len(asked.params) == len(serp.params)
    assert asked.headers.get("Authorization") == serp.authorization
    assert capture.answer.text == serp.text
    found = [(one.url, one.title, one.quote, one.role) for one in capture.evidence.sources]
    assert found == [tuple(one) for one in serp.sources]
    assert capture.provenance.surface_present
    place = {"country": "TW", "city": "Taipei", "language": "zh-Hant"}
    heard = capture.provenance.region.effective == "TW"
    assert heard is ("country" in serp.told)
    left_out = ", ".join(
        f"{part} {value}" for part, value in place.items() if part not in serp.told
    )
    where = "as seen from TW" if heard else "as seen from where it is"
    assert [(warning.code, warning.message) for warning in capture.warnings] == (
        [("region_broadened", f"the upstream was not told of {left_out}: the answer is {where}")]
        if left_out
        else []
    )


@pytest.mark.parametrize("serp", SERPS.values(), ids=SERPS)
async def test_a_search_that_finds_nothing_is_an_absent_surface(load, api, home, serp):
    """It costs nothing and is not tried again, although these APIs call it an error."""
    api.reply = serp.nothing
    capture = await ask(load(pasted(serp.preset, home)))
    assert not capture.provenance.surface_present
    assert "surface_absent" in {warning.code for warning in capture.warnings}
    assert (capture.answer.text, capture.evidence.sources) == ("", ())


@pytest.mark.parametrize(
    ("preset", "items"),
    [
        ("dataforseo_google_ai_overview", [{"type": "organic", "url": serps.BLOG, "title": "B"}]),
        (
            "dataforseo_google_ai_overview",
            [{"type": "ai_overview", "asynchronous_ai_overview": True}],
        ),
        ("dataforseo_google_ai_mode", None),
    ],
)
async def test_results_without_an_overview_are_an_absent_surface(load, api, home, preset, items):
    """A page of results that has no such answer, or one that has not come, shows nothing."""
    found = SERPS[preset].found
    (task,) = found["tasks"]
    api.reply = found | {"tasks": [task | {"result": [{"items": items}]}]}
    capture = await ask(load(pasted(preset, home)))
    assert not capture.provenance.surface_present


@pytest.mark.parametrize("serp", SERPS.values(), ids=SERPS)
async def test_a_failure_is_none_of_its_answers(load, api, home, serp):
    """Told with a status of 200 it is tried again; and no failure or log of one shows the key."""
    adapter = load(pasted(serp.preset, home))
    answers = [*((200, reply) for reply in serp.failed), (401, {"error": KEY}), (200, f"<p>{KEY}")]
    told = []
    with capture_logs() as logs:
        for api.status, api.reply in answers:
            with pytest.raises(SurfaceError) as caught:
                await ask(adapter)
            told.append((caught.value.code, caught.value.permanent))
            assert KEY not in repr(caught.value) + caught.value.message
    ours = ("BAD_RESPONSE", False)
    assert told == [*(ours for _ in serp.failed), ("UPSTREAM_STATUS", True), ours]
    assert KEY not in repr((logs, adapter))


async def test_a_service_that_is_away_is_not_named_with_its_key(load):
    """The key is in SerpApi's URL: what fails to reach it says nothing of that URL."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        home = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with capture_logs() as logs, pytest.raises(SurfaceError) as caught:
            await ask(load(pasted("serpapi_google_search", home)))
    assert caught.value.code == "CONNECT_FAILED"
    assert KEY not in repr((caught.value, logs))


async def test_the_open_presets_read_what_they_are_pointed_at(load, api, home):
    """A feed, and an API that answers in JSON."""
    api.reply = '<rss version="2.0"><channel><item><title>Tea</title></item></channel></rss>'
    assert (await ask(load(named("feed", home)))).answer.text == "Tea"
    api.reply = {
        "answer": {"text": "tea"},
        "results": [{"link": "/t", "title": "T", "snippet": "s"}],
    }
    capture = await ask(load(named("json", home)))
    assert capture.answer.text == "tea"
    (source,) = capture.evidence.sources
    assert (source.url, source.title, source.quote) == (f"{home}/t", "T", "s")
    assert dict(api.asked[-1].params) == {"q": QUERY, "country": "TW"}
    api.reply = {"error": {"message": "no"}}
    with pytest.raises(SurfaceError):
        await ask(load(named("json", home)))


async def test_what_stands_beside_a_preset_comes_before_it(load, api, home):
    """An option of one's own replaces the preset's; the rest stays."""
    api.reply = SERPS["serpapi_google_search"].found
    text = named("serpapi_google_search", home)
    capture = await ask(load(text.replace("{preset", "{text = 'organic_results[0].title', preset")))
    assert capture.answer.text == "Blog"
    assert len(capture.evidence.sources) == 2


FILE = '[surfaces.s]\nadapter = "http"\n[surfaces.s.options]\n'


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            'preset = "serpapi_bing"',
            "4: surfaces.s.options.preset: there is no such preset; there are ",
        ),
        ("preset = 1", "4: surfaces.s.options.preset: there is no such preset; there are "),
        ('preset = "serpapi_copilot"', "preset: environment variable SERPAPI_API_KEY is not set"),
        ('preset = "feed"\ntext = "a"', "`text`, `markdown`, `sources` and `error` read only"),
        ('preset = "feed"\nspeed = 1', "5: surfaces.s.options.speed: unknown option"),
    ],
)
def test_a_preset_that_cannot_be_used_stops_the_start(tmp_path, monkeypatch, options, said):
    """With file, line and reason; an unknown name is told those there are."""
    monkeypatch.delenv("SERPAPI_API_KEY", raising=False)
    path = tmp_path / "parallax.toml"
    path.write_text(FILE + options)
    with pytest.raises(ConfigError) as caught:
        discovery.build(configuration.load(path), "s")
    assert said in str(caught.value)
    if "no such preset" in said:
        assert ", ".join(presets.names()) in str(caught.value)


def test_an_empty_key_is_no_key(tmp_path, monkeypatch):
    """It would be refused by the service only once a call is made."""
    monkeypatch.setenv("SERPAPI_API_KEY", "")
    path = tmp_path / "parallax.toml"
    path.write_text(FILE + 'preset = "serpapi_copilot"')
    with pytest.raises(ConfigError, match="environment variable SERPAPI_API_KEY is not set"):
        discovery.build(configuration.load(path), "s")


def test_a_key_that_is_not_needed_need_not_be_set(tmp_path, monkeypatch):
    """Whoever says the header or the URL with the key needs no variable of the preset's."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    path = tmp_path / "parallax.toml"
    path.write_text(
        FILE + 'preset = "dataforseo_google_news"\nheaders = {Authorization = "Basic ${MINE}"}'
    )
    loaded = configuration.load(path, environment={"MINE": "x"})
    assert discovery.build(loaded, "s").method == "http"


def test_every_address_is_the_service_s_own():
    """Over TLS, to the host whose contract the file names."""
    hosts = {"serpapi": "serpapi.com", "searchapi": "www.searchapi.io"}
    for preset in SERPS:
        text = presets.text(preset)
        (url,) = re.findall(r'^url = "(.*)"', text, re.MULTILINE)
        parts = urlsplit(url)
        host = hosts.get(known.service(preset), "api.dataforseo.com")
        assert (parts.scheme, parts.netloc) == ("https", host)
        assert f"https://{host.removeprefix('api.')}" in text.replace("docs.", "")
