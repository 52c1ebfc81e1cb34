"""URLs in options: what the address guard refuses is refused when a job is submitted."""

import pytest

from orchestrator.domain.addresses import networks
from orchestrator.settings import Settings
from orchestrator.store import surfaces
from orchestrator.surfaces import SurfaceConfig, SurfaceDescriptor
from workers.adapters import discovery

pytestmark = pytest.mark.anyio

CONFIG = SurfaceConfig(name="hook", adapter="webhook")
HOOK = discovery.describe(CONFIG, discovery.make(CONFIG))
DEEP = SurfaceDescriptor(
    name="deep",
    adapter="mine",
    method="http",
    options_schema={
        "properties": {
            "to": {"items": {"type": "string", "format": "uri"}},
            "at": {"format": "date"},
        }
    },
)
SECRET = "c4n4ry"


@pytest.fixture
async def submit(connection, client):
    await surfaces.register(connection, [HOOK, DEEP])

    async def submit(surface: str, options: object = None):
        body = {"query": "shoes", "surfaces": [surface]}
        return await client.post(
            "/v1/search", json=body if options is None else body | {"options": {surface: options}}
        )

    return submit


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"http://127.0.0.1/{SECRET}", "this address is loopback"),
        (f"http://0x7f.1/{SECRET}", "this address is loopback"),
        (f"http://localhost/{SECRET}", "only locally"),
        (f"http://{SECRET}@example.com/", "Leave out user"),
        (f"http://example.com:22/{SECRET}", "port 80"),
        (f"ftp://example.com/{SECRET}", "http://"),
        (f"http://example.com/{SECRET} x", "Percent-encode"),
    ],
)
async def test_a_hostile_url_is_refused_at_submit(submit, url, said):
    """400 names the option and what to do, and does not repeat the URL: it may hold a secret."""
    answer = await submit("hook", {"url": url})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "VALIDATION_FAILED"
    (fault,) = error["details"]
    assert fault["path"] == "options.hook.url"
    assert said in fault["message"]
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    "options",
    [
        {"url": "https://example.com/hook"},
        {"url": "http://8.8.8.8:8080/", "payload": {"any": ["json", 1, None]}},
    ],
)
async def test_a_good_url_is_taken(submit, options):
    """Whether its name exists is not asked: no submission waits for that."""
    assert (await submit("hook", options)).status_code == 202


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        (None, ["options.hook"]),
        ({}, ["options.hook"]),
        ({"payload": 1}, ["options.hook"]),
        ({"url": 5}, ["options.hook.url"]),
        ({"url": "https://example.com/", "more": 1}, ["options.hook"]),
        ({"url": "https://example.com/" + "x" * 2048}, ["options.hook.url"] * 2),
    ],
)
async def test_a_webhook_is_not_submitted_without_its_url(submit, options, paths):
    """Nor with what is none, nor with options that nobody knows."""
    answer = await submit("hook", options)
    assert answer.status_code == 400
    assert [fault["path"] for fault in answer.json()["error"]["details"]] == paths


async def test_a_batch_tells_the_url_of_each_job(submit, client):
    """Jobs with a good one are taken, those with a hostile one refused."""
    await submit("hook")
    urls = ["https://example.com/", "http://10.0.0.1/"]
    jobs = [{"query": "a", "surfaces": ["hook"], "options": {"hook": {"url": url}}} for url in urls]
    answer = await client.post("/v1/search/batch", json={"items": jobs})
    assert "this address is private" in answer.text


async def test_a_preflight_needs_no_url(submit, client):
    """It is asked before there are any options."""
    await submit("hook")
    answer = await client.post("/v1/async/preflight", json={"jobs": 1, "surfaces": ["hook"]})
    assert answer.status_code == 200, answer.text


async def test_urls_of_any_adapter_are_checked_wherever_they_stand(submit):
    """A schema's format `uri` is a URL to be called; other formats are left to the adapter."""
    answer = await submit("deep", {"to": ["https://example.com/", "http://[::1]/"], "at": "now"})
    assert [fault["path"] for fault in answer.json()["error"]["details"]] == ["options.deep.to[1]"]
    assert (await submit("deep", {"to": ["https://example.com/"], "at": "now"})).status_code == 202


class TestWithAnAllowedNetwork:
    @pytest.fixture
    def settings(self, database) -> Settings:
        return Settings(database_url=database, allow_networks=networks("10.0.0.0/8"))

    @pytest.mark.parametrize(
        ("url", "status"),
        [("http://10.1.2.3/", 202), ("http://intranet/", 202), ("http://192.168.0.1/", 400)],
    )
    async def test_it_alone_is_opened(self, submit, url, status):
        """Its addresses and local names; other networks stay closed."""
        assert (await submit("hook", {"url": url})).status_code == status
