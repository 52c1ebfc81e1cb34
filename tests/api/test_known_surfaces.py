"""What a surface can be asked: how a missing one is configured, from where, and with what query."""

import pytest

from orchestrator.domain import known
from orchestrator.store import surfaces
from orchestrator.surfaces import SurfaceConfig
from workers.adapters import discovery

pytestmark = pytest.mark.anyio


def published(name, adapter="simulator", **fields):
    """What a worker that serves this surface publishes of it."""
    config = SurfaceConfig(name=name, adapter=adapter, **fields)
    return discovery.describe(config, discovery.make(config))


@pytest.fixture
async def client(connection, issue, opened):
    """A client of a server with a surface of two countries, one that reads pages, one of any."""
    mine = published("mine", countries=("AT", "GB"))
    await surfaces.register(connection, [mine, published("page", "page"), published("any")])
    async with opened((await issue()).secret) as made:
        yield made


async def refused(client, code, **body):
    answer = await client.post("/v1/search", json={"query": "shoes"} | body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    return answer.json()["error"]


async def test_a_well_known_surface_that_is_missing_says_how_it_is_configured(client):
    """UNSUPPORTED_SURFACE names the adapter or the presets of each; others it does not know."""
    names = ["google_ai_mode", "chatgpt", "altavista"]
    error = await refused(client, "UNSUPPORTED_SURFACE", surfaces=names)
    assert error["message"] == (
        "These cells cannot be captured here: google_ai_mode in US; chatgpt in US; altavista in US."
        " What exists: any (any country), mine (AT, GB), page (any country)."
        ' Whoever runs this server can configure google_ai_mode: adapter = "http" with'
        ' options.preset = "serpapi_google_ai_mode" or "searchapi_google_ai_mode" or'
        ' "dataforseo_google_ai_mode".'
        ' Whoever runs this server can configure chatgpt: adapter = "openai".'
    )


async def test_every_well_known_surface_has_its_way(client):
    """All of them at once are told, each with its own."""
    names = [*known.ADAPTERS, *known.PRESETS]
    message = (await refused(client, "UNSUPPORTED_SURFACE", surfaces=names))["message"]
    for name in names:
        assert f" Whoever runs this server can configure {name}: {known.how(name)}." in message


async def test_a_surface_is_asked_only_from_its_countries(client):
    """`countries` of the configuration refuses every cell elsewhere, and says where it is asked."""
    asked = {
        "surfaces": ["any", "mine"],
        "regions": ["AT", "US", {"country": "FR", "city": "Lyon"}],
    }
    error = await refused(client, "UNSUPPORTED_REGION", **asked)
    assert error["message"] == (
        "These cells cannot be captured here: mine in US; mine in FR."
        " What exists: any (any country), mine (AT, GB), page (any country)."
    )
    assert [fault["path"] for fault in error["details"]] == [
        "regions[1].country",
        "regions[2].country",
    ]
    body = {"query": "shoes", "surfaces": ["any", "mine"], "regions": ["at", "GB"]}
    assert (await client.post("/v1/search", json=body)).status_code == 202
    (mine,) = (
        one
        for one in (await client.get("/v1/surfaces")).json()["surfaces"]
        if one["name"] == "mine"
    )
    assert mine["regions"] == ["AT", "GB"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("shoes", "http://"),
        ("http://127.0.0.1/c4n4ry", "this address is loopback"),
        ("http://u:c4n4ry@example.com/", "Leave out user"),
        ("https://example.com/" + "a" * 9000, "maxLength"),
    ],
)
async def test_a_query_that_a_surface_cannot_be_asked_is_a_fault_of_the_query(client, query, said):
    """A surface that reads pages takes only URLs that may be called; the fault repeats none."""
    error = await refused(client, "VALIDATION_FAILED", query=query, surfaces=["any", "page"])
    assert {fault["path"] for fault in error["details"]} == {"query"}
    assert any(said in fault["message"] for fault in error["details"])
    assert "c4n4ry" not in str(error)


async def test_a_query_that_it_can_be_asked_is_taken(client):
    """By every way in; a preflight has no query, and asks for none."""
    body = {"query": "https://example.com/a?b=1", "surfaces": ["any", "page"]}
    assert (await client.post("/v1/search", json=body)).status_code == 202
    asked = await client.post(
        "/v1/async/preflight", json={"jobs": 1, "surfaces": ["page"], "regions": ["US"]}
    )
    assert (asked.status_code, asked.json()["admitted"]) == (200, True)
    items = [body, body | {"query": "shoes"}]
    answer = await client.post("/v1/search/batch", json={"items": items})
    assert answer.status_code == 200, answer.text
    made, fault = answer.json()["items"]
    assert made["error"] is None
    assert [one["path"] for one in fault["error"]["details"]] == ["query"]
    only = await client.post("/v1/search/page", json={"query": "shoes"})
    assert only.json()["error"]["details"][0]["path"] == "query"
