"""One suite over all adapters of answer engines, against servers that speak their contracts."""

import json

import pytest
from aiohttp import web

from orchestrator.surfaces import RegionConfig, SurfaceConfig
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


KEYS = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "perplexity": "PERPLEXITY_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "xai": "XAI_API_KEY",
}


class Server:
    """An upstream that answers as its test wants."""

    def __init__(self, fake) -> None:
        self.fake = fake
        self.replies = [fake.tell(SAID).reply]
        self.handler = self.answer
        self.asked = []

    async def handle(self, request):
        assert (request.method, request.path) == ("POST", self.fake.path)
        assert self.fake.authorized(request.headers)
        self.asked.append(await request.json())
        return await self.handler(request)

    async def answer(self, request):
        return web.json_response(self.replies[min(len(self.asked), len(self.replies)) - 1])


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


async def test_the_contract_is_spoken(surface, server):
    """What is asked and what the fake replies are of the types of the provider's own package."""
    fake = server.fake
    said = (SAID, PLAIN, SAID._replace(refused=True), SAID._replace(truncated=True))
    for one in said:
        fake.check_reply(fake.tell(one).reply)
    options = {"system": "Be brief.", "max_output_tokens": 99, "extra_body": dict(fake.extra)}
    if fake.adapter != "anthropic":  # its package has no temperature any more
        options["temperature"] = 0.5
    await ask(await surface(), city="Bath", language="cy")
    await ask(await surface(**options))
    await ask(await surface(search=False))
    for body in server.asked:
        fake.check_asked(body)
    assert len(server.asked) == 3


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


@pytest.mark.parametrize("fake", [name for name in FAKES if name in KEYS], indirect=True)
async def test_without_its_search_a_provider_is_told_no_place(surface, server):
    """The place is the search's: nothing of it is sent, and none is said to be effective."""
    capture = await ask(await surface(search=False), language="cy")
    (body,) = server.asked
    assert "GB" not in json.dumps(body)
    assert body.keys().isdisjoint({"tools", "toolConfig", "web_search_options"})
    assert capture.provenance.region.effective is None
    assert [warning.code for warning in capture.warnings] == ["region_broadened"]
    await ask(await surface(search=False, extra_body=dict(server.fake.extra)))
    assert "GB" in json.dumps(server.asked[-1])


@pytest.mark.parametrize("fake", ["openai", "xai", "anthropic", "gemini"], indirect=True)
async def test_what_is_configured_of_the_search_is_merged_with_it(surface, server):
    """A tool that is the provider's search is sent once, with the place; others beside it."""
    own = {
        "anthropic": {"type": "web_search_20260209", "name": "web_search", "max_uses": 2},
        "gemini": {"googleSearch": {"timeRangeFilter": {}}},
    }.get(server.fake.adapter, {"type": "web_search", "search_context_size": "low"})
    other = {"codeExecution": {}, "type": "code", "name": "code"}
    await ask(await surface(tools=[other, own]))
    search, beside = server.asked[0]["tools"]
    assert (search | own, beside) == (search, other)
    assert server.fake.country_of(server.asked[0]) == "GB"


async def test_what_a_provider_cannot_be_told_is_warned_of(surface, server):
    """A region is never narrowed to something else in silence."""
    capture = await ask(await surface(), city="Atlantis", language="cy")
    codes = {warning.code for warning in capture.warnings}
    whole = server.fake.adapter == "perplexity"
    assert ("region_broadened" in codes) != whole


@pytest.mark.parametrize("fake", [one for one in FAKES if FAKES[one].refuses], indirect=True)
async def test_a_refusal(surface, server):
    """What it says is the answer; who says nothing showed nothing. Either way it is told."""
    server.replies = [server.fake.tell(SAID._replace(refused=True)).reply]
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
    """The failure says which key to look at; not which key it is."""
    failing(server, 401, "invalid_api_key")
    error = await refused(await surface())
    assert error.permanent
    assert "check the API key" in error.message


@pytest.mark.parametrize("fake", ["openai", "xai", "openai_compatible"], indirect=True)
async def test_a_quota_that_is_used_up(surface, server):
    """429 too, but no patience helps."""
    failing(server, 429, "insufficient_quota")
    error = await refused(await surface())
    assert error.permanent
    assert "insufficient_quota" in error.message


async def test_a_reply_of_another_shape(surface, server):
    """JSON, but not of the contract: a bad response, tried again."""
    bodies = iter((b"[]", b"{}", b'{"output": 5}', b"null", b'{"a": ' * 9_000))

    async def handler(_):
        return web.Response(body=next(bodies), content_type="application/json")

    server.handler = handler
    adapter = await surface()
    for _ in range(5):
        error = await refused(adapter)
        assert (error.code, error.permanent) == ("BAD_RESPONSE", False)


async def test_raw_is_the_reply(surface, server):
    """Kept if the surface keeps it."""
    assert (await ask(await surface(raw=True))).raw == server.replies[0]
    assert (await ask(await surface())).raw is None


async def test_the_language_of_a_region(surface, server):
    """Is told to who can be told, and missed by nobody: no client asked for it."""
    adapter = await surface(
        regions={"GB": RegionConfig(locale="cy")}, extra_body=dict(server.fake.extra)
    )
    assert (await ask(adapter)).warnings == ()
    assert ('"cy"' in json.dumps(server.asked)) == (server.fake.adapter in {"gemini", "perplexity"})


async def test_the_headers_of_a_region(surface, server):
    """Go along with its calls."""
    seen = []

    async def handler(request):
        seen.append(request.headers.get("X-Geo"))
        return await server.answer(request)

    server.handler = handler
    await ask(await surface(regions={"GB": RegionConfig(headers={"X-Geo": "gb"})}))
    assert seen == ["gb"]


@pytest.mark.parametrize("fake", [name for name in FAKES if name in KEYS], indirect=True)
def test_without_a_key(fake, monkeypatch):
    """The fault says which variable to set; that is looked at, but for a newline at its end."""
    variable = KEYS[fake.adapter]
    config = SurfaceConfig(name="s", adapter=fake.adapter, options={"model": MODEL})
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(OptionError, match=variable):
        discovery.make(config)
    monkeypatch.setenv(variable, "key\n1")
    with pytest.raises(OptionError, match=variable):
        discovery.make(config)
    monkeypatch.setenv(variable, "key-1\n")
    assert fake.authorized({name.title(): value for name, value in sent(discovery.make(config))})


def sent(adapter):
    return adapter._headers.items()


@pytest.mark.parametrize("fake", ["openai_compatible"], indirect=True)
async def test_a_server_of_one_s_own_needs_no_key(surface, server, monkeypatch):
    """Ollama and vLLM are called without one; where they are has to be said."""
    monkeypatch.setenv("OPENAI_API_KEY", "key-1")
    keys = []

    async def handler(request):
        keys.append(request.headers.get("Authorization"))
        return web.json_response(server.replies[0])

    server.handle = handler
    assert (await ask(await surface(api_key=None))).answer.text
    assert keys == [None]
    config = SurfaceConfig(name="s", adapter="openai_compatible", options={"model": MODEL})
    with pytest.raises(OptionError, match="where the server is"):
        discovery.make(config)


@pytest.mark.parametrize("fake", ["openai_compatible"], indirect=True)
async def test_azure_s_older_endpoint(surface, serve, server):
    """Its version stands in the query, its key in a header of its own."""
    seen = []

    async def handler(request):
        seen.append(
            (request.path_qs, request.headers["api-key"], "Authorization" in request.headers)
        )
        return web.json_response(server.replies[0])

    base_url = f"{await serve(handler)}/openai/deployments/d/?api-version=2024-10-21"
    adapter = await surface(base_url=base_url, api_key=None, headers={"api-key": "key-1"})
    assert (await ask(adapter)).answer.text
    path = "/openai/deployments/d/chat/completions?api-version=2024-10-21"
    assert seen == [(path, "key-1", False)]
