"""One suite over all adapters of answer engines, against servers that speak their contracts."""

import asyncio
import json

import pytest
from aiohttp import web

from orchestrator.surfaces import RegionConfig, SurfaceConfig
from tests.waiting import eventually
from tests.workers.fakes import FAKES
from tests.workers.fakes.saying import LABEL, MODEL, Said
from workers.adapters import base, discovery
from workers.errors import OptionError, SurfaceError

pytestmark = pytest.mark.anyio

A, B, C = ("https://a.example/?q=1", "A"), ("https://b.example/é", "B"), ("https://c.example/", "C")
QUERY = "best 日本 shoes 👟? & <b>"
SAID = Said(
    pieces=(
        ("**Acmé** is 👟 good. ", (A,)),
        ("日本語も良い.", (B, A)),
        ("\n\n- e\u0301nd\n", ()),
    ),
    found=(C, A),
    queries=("best shoes", "shoes 2026"),
)
PLAIN = SAID._replace(pieces=((SAID.words, ()),), found=(), queries=())


@pytest.fixture(params=FAKES)
def fake(request):
    return FAKES[request.param]


class Server:
    """An upstream that is as badly behaved as its test wants, and checks what it is asked."""

    def __init__(self, fake) -> None:
        self.fake = fake
        self.replies = [fake.tell(SAID).reply]
        self.handler = self.answer
        self.asked = []

    async def handle(self, request):
        assert (request.method, request.path) == ("POST", self.fake.path)
        assert self.fake.authorized(request.headers)
        body = await request.json()
        self.asked.append(body)
        self.fake.check_asked(body)
        return await self.handler(request)

    async def answer(self, request):
        reply = self.replies[min(len(self.asked), len(self.replies)) - 1]
        self.fake.check_reply(reply)
        return web.json_response(reply)


@pytest.fixture
def server(fake):
    return Server(fake)


@pytest.fixture
async def surface(serve, server):
    """A surface that asks this server."""
    made = []

    async def make(*, seconds=30.0, raw=False, regions=None, **options):
        options = {
            "model": MODEL,
            "api_key": "key-1",
            "base_url": await serve(server.handle),
        } | options
        config = SurfaceConfig(
            name="s",
            adapter=server.fake.adapter,
            timeout_seconds=seconds,
            raw=raw,
            options=options,
            regions=regions or {},
        )
        made.append(discovery.make(config))
        return made[-1]

    yield make
    for adapter in made:
        await adapter.close()


async def ask(adapter, *, seconds=30.0, **changes):
    fields = {"child": "job_1.s.gb", "query": QUERY, "surface": "s", "country": "GB"}
    request = base.CaptureRequest(**fields | changes)
    return (await base.run(adapter, request, timeout_seconds=seconds)).capture


async def refused(adapter, **changes):
    with pytest.raises(SurfaceError) as caught:
        await ask(adapter, **changes)
    assert "key-1" not in caught.value.message
    return caught.value


async def test_an_answer_with_its_citations(surface, server):
    """Each page once, in the order of first citation; each range has the words that are cited."""
    told = server.fake.tell(SAID)
    capture = await ask(await surface())
    answer, sources = capture.answer, capture.evidence.sources
    assert "Acmé is 👟 good." in answer.text
    assert "日本語も良い" in answer.text
    assert "**Acmé**" in answer.markdown
    cited = [source for source in sources if source.cited]
    assert [source.url for source in cited] == list(dict.fromkeys(url for url, _ in told.cited))
    for source in cited:
        ranges = [answer.text[start:end] for start, end in source.char_ranges]
        expected = [words.strip() for url, words in told.cited if url == source.url]
        assert [words.strip() for words in ranges] == expected
    assert [source.role for source in sources] == ["cited"] * 2 + ["retrieved"] * (len(sources) - 2)
    first = answer.blocks[0]
    assert (first.type, set(first.reference_ids)) == ("paragraph", {1, 2})
    assert [(block.type, block.reference_ids) for block in answer.blocks[1:]] == [("list", ())]
    assert capture.provenance.surface_present is True
    assert capture.warnings == (() if server.fake.searches else capture.warnings)


async def test_what_was_searched_for(surface, server):
    """The pages that were met and not cited, and the searches, where the provider tells them."""
    capture = await ask(await surface())
    urls = [source.url for source in capture.evidence.sources if source.role == "retrieved"]
    assert urls == ([C[0]] if server.fake.searches else [])
    fan_out = capture.evidence.fan_out
    expected = (SAID.queries, "observed") if server.fake.names_queries else ((), "none")
    assert (fan_out.queries, fan_out.provenance) == expected
    assert capture.provenance.web_search.enabled is True


async def test_an_answer_without_a_search(surface, server):
    """No sources; and it is known that nothing was searched for, by who would tell."""
    server.replies = [server.fake.tell(PLAIN).reply]
    capture = await ask(await surface())
    assert capture.evidence.sources == ()
    searched = capture.provenance.web_search
    expected = (False, True) if server.fake.searches else (None, False)
    assert (searched.enabled, searched.known) == expected


async def test_who_answered_and_what_it_cost(surface, server):
    """The model asked for, the one seen, the tokens; and money, if anybody knows its price."""
    seen = (await ask(await surface())).provenance
    assert (seen.adapter, seen.method) == (server.fake.adapter, "official-api")
    assert (seen.model.provider_id, seen.model.observed_label) == (MODEL, LABEL)
    assert (seen.usage.input_tokens, seen.usage.output_tokens) == (1000, 200)
    priced = await surface(prices={"input": 2.0, "output": 10.0})
    own = {"perplexity": 0.0062}.get(server.fake.adapter, 0.004)
    cost = (await ask(priced)).provenance.usage.estimated_cost
    assert (cost.amount, cost.currency) == (own, "USD")


async def test_the_request_is_as_configured(surface, server):
    """The query as it is, the region in the provider's own field, all that is configured."""
    adapter = await surface(
        system="Be brief.",
        temperature=0.5,
        max_output_tokens=99,
        extra_body=dict(server.fake.extra),
    )
    await ask(adapter)
    body = server.asked[-1]
    assert server.fake.query_of(body) == QUERY
    assert server.fake.country_of(body) == ("GB" if server.fake.searches else None)
    text = json.dumps(body)
    assert {said in text for said in ('"Be brief."', ": 0.5", ": 99")} == {True}
    ((name, about),) = server.fake.extra.items()
    assert list(body[name].values()) == ["GB"]
    assert body[name].keys() == about.keys()


@pytest.mark.parametrize("country", ["US", "DE"])
async def test_the_region_is_the_one_asked_for(surface, server, country):
    """What was told to the provider is what is said to be effective."""
    capture = await ask(await surface(), country=country)
    told = server.fake.country_of(server.asked[-1])
    assert told == (country if server.fake.searches else None)
    region = capture.provenance.region
    assert (region.requested, region.effective) == (country, told)


async def test_what_a_provider_cannot_be_told_is_warned_of(surface, server):
    """A region is never narrowed to something else in silence."""
    capture = await ask(await surface(), city="Atlantis", language="cy")
    codes = {warning.code for warning in capture.warnings}
    whole = server.fake.adapter == "perplexity"
    assert ("region_broadened" in codes) != whole


async def test_a_refusal(surface, server):
    """What it says is the answer; who says nothing showed nothing. Either way it is told."""
    server.replies = [server.fake.tell(SAID._replace(refused=True)).reply]
    if server.fake.adapter == "perplexity":
        pytest.skip("its contract knows no refusal")
    capture = await ask(await surface())
    assert "refused" in [warning.code for warning in capture.warnings]
    assert capture.provenance.surface_present is bool(capture.answer.text)


async def test_an_answer_that_is_cut_off(surface, server):
    """By the limit of tokens: it is captured, and told."""
    server.replies = [server.fake.tell(SAID._replace(truncated=True)).reply]
    capture = await ask(await surface())
    assert "truncated" in [warning.code for warning in capture.warnings]
    assert capture.answer.text


def failing(server, status, code, **headers):
    async def handler(_):
        return web.json_response(server.fake.error(status, code), status=status, headers=headers)

    server.handler = handler


async def test_a_key_that_is_refused(surface, server):
    """401 is permanent, and says which key to look at; not which key it is."""
    failing(server, 401, "invalid_api_key")
    error = await refused(await surface())
    assert (error.code, error.permanent, error.response_code) == ("UPSTREAM_STATUS", True, 401)
    assert "check the API key" in error.message


async def test_a_provider_that_throttles(surface, server):
    """429 is tried again, after what it asks for."""
    adapter = await surface()
    failing(server, 429, "rate_limit_exceeded", **{"Retry-After": "7"})
    error = await refused(adapter)
    assert (error.permanent, error.retry_after_seconds) == (False, 7.0)
    failing(server, 429, "rate_limit_exceeded")
    error = await refused(adapter)
    assert (error.permanent, error.retry_after_seconds) == (False, None)


async def test_a_quota_that_is_used_up(surface, server):
    """429 too, but no patience helps."""
    if server.fake.adapter not in {"openai", "xai", "openai_compatible"}:
        pytest.skip("the word is OpenAI's")
    failing(server, 429, "insufficient_quota")
    error = await refused(await surface())
    assert error.permanent
    assert "insufficient_quota" in error.message


async def test_a_provider_that_is_broken(surface, server):
    """500 may pass."""
    failing(server, 500, "server_error")
    error = await refused(await surface())
    assert (error.code, error.permanent, error.response_code) == ("UPSTREAM_STATUS", False, 500)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"output": 5}', b"\xff", b"{" * 9]
)
async def test_a_reply_that_is_no_reply(surface, server, body):
    """Malformed, or JSON of another shape: a bad response, tried again."""

    async def handler(_):
        return web.Response(body=body, content_type="application/json")

    server.handler = handler
    error = await refused(await surface())
    assert (error.code, error.permanent) == ("BAD_RESPONSE", False)


async def test_a_slow_provider(surface, server):
    """It is given as long as the surface says."""

    async def handler(_):
        await asyncio.sleep(30)

    server.handler = handler
    error = await refused(await surface(seconds=0.2))
    assert (error.code, error.permanent) == ("UPSTREAM_TIMEOUT", False)


async def test_a_reply_that_breaks_off(surface, server):
    """Half of it and the end of the connection."""

    async def handler(request):
        whole = json.dumps(server.replies[0]).encode()
        response = web.StreamResponse(headers={"Content-Length": str(len(whole))})
        await response.prepare(request)
        await response.write(whole[: len(whole) // 2])
        request.transport.close()
        return response

    server.handler = handler
    error = await refused(await surface())
    assert (error.code, error.permanent) == ("BAD_RESPONSE", False)


async def test_a_reply_that_is_too_large(surface, server):
    """No more of it is read than may be."""
    error = await refused(await surface(max_bytes=100))
    assert (error.code, error.permanent) == ("RESPONSE_TOO_LARGE", True)


async def test_a_reply_byte_by_byte(surface, server):
    """As good as one in a piece."""

    async def handler(request):
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for byte in json.dumps(server.replies[0], ensure_ascii=False).encode():
            await response.write(bytes([byte]))
        return response

    adapter = await surface()
    whole = await ask(adapter)
    server.handler = handler
    assert (await ask(adapter)).answer == whole.answer


async def test_canceled_in_mid_call(surface, server):
    """The connection goes with it, and the next capture is as good as any."""
    begun = asyncio.Event()
    calls = []

    async def handler(request):
        calls.append(request)
        begun.set()
        await asyncio.sleep(30)
        return await server.answer(request)

    async def hung_up():
        return calls[0].transport is None

    adapter = await surface()
    server.handler = handler
    running = asyncio.ensure_future(ask(adapter))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await eventually(hung_up)
    server.handler = server.answer
    assert (await ask(adapter)).answer.text


async def test_raw_is_the_reply(surface, server):
    """Kept if the surface keeps it."""
    assert (await ask(await surface(raw=True))).raw == server.replies[0]
    assert (await ask(await surface())).raw is None


async def test_the_headers_of_a_region(surface, server):
    """Go along with its calls."""
    seen = []

    async def handler(request):
        seen.append(request.headers.get("X-Geo"))
        return await server.answer(request)

    server.handler = handler
    await ask(await surface(regions={"GB": RegionConfig(headers={"X-Geo": "gb"})}))
    assert seen == ["gb"]


def test_without_a_key(fake, monkeypatch):
    """The fault says which variable to set; that is looked at."""
    if fake.adapter == "openai_compatible":
        pytest.skip("a server of one's own may want none")
    names = {
        "openai": "OPENAI_API_KEY",
        "anthropic": "ANTHROPIC_API_KEY",
        "perplexity": "PERPLEXITY_API_KEY",
        "gemini": "GEMINI_API_KEY",
        "xai": "XAI_API_KEY",
    }
    config = SurfaceConfig(name="s", adapter=fake.adapter, options={"model": MODEL})
    monkeypatch.delenv(names[fake.adapter], raising=False)
    with pytest.raises(OptionError, match=names[fake.adapter]):
        discovery.make(config)
    monkeypatch.setenv(names[fake.adapter], "key-1")
    assert discovery.make(config)
