"""Rodin's one question."""

import pytest

from orchestrator import settings
from orchestrator.errors import ConfigError
from orchestrator.fanout import fan_out
from orchestrator.settings import Settings
from orchestrator.store import surfaces
from tests import factories
from tests.api import dialects

pytestmark = pytest.mark.anyio
PATH = "/api/v2/queue_status_check"


@pytest.fixture
async def registered(connection):
    await surfaces.register(connection, list(dialects.SURFACES))


async def test_every_surface_is_told(client, issue, opened, connection):
    """By its Rodin name if it has one; of the whole server, and queues are none."""
    await factories.node(connection, surfaces=["chatgpt", "google_search"])
    await factories.node(connection, surfaces=["chatgpt"])
    await factories.node(connection, surfaces=["chatgpt"], age_seconds=60)
    two = {"query": "q", "surfaces": ["chatgpt", "google_search"], "regions": ["US", "GB"]}
    async with opened((await issue()).secret) as other:
        await other.post("/v1/search", json=two)
        await fan_out(connection)
        await factories.claim(connection, slots=3, surfaces=["chatgpt"])
        await other.post("/v1/search", json=two)
    await client.post("/v1/search", json=two)
    await client.post("/v1/tasks", json={"queue": "a", "webhook_url": "https://a.example/"})
    answer = await client.get(PATH)
    assert answer.status_code == 200
    assert answer.json() == {
        "rodin.mesh": {"consumers": 2, "job_awaiting": 4, "job_running": 2},
        "google_search": {"consumers": 1, "job_awaiting": 6, "job_running": 0},
    }


class TestOfTheKey:
    """`PARALLAX_RODIN_SCOPE=key`."""

    @pytest.fixture
    def settings(self, database):
        return Settings(database_url=database, rodin_scope="key")

    async def test_its_own_work_alone_is_told(self, client, issue, opened, connection):
        """Consumers are everybody's."""
        await factories.node(connection, surfaces=["chatgpt"])
        one = {"query": "q", "surfaces": ["chatgpt"]}
        async with opened((await issue()).secret) as other:
            await other.post("/v1/search", json=one)
        await client.post("/v1/search", json=one)
        told = (await client.get(PATH)).json()["rodin.mesh"]
        assert told == {"consumers": 1, "job_awaiting": 1, "job_running": 0}


def test_whose_work_is_told_is_a_setting(monkeypatch):
    """`PARALLAX_RODIN_SCOPE`: server, which is meant where nothing is said, or key."""
    assert settings.load().rodin_scope == "server"
    monkeypatch.setenv("PARALLAX_RODIN_SCOPE", "key")
    assert settings.load().rodin_scope == "key"
    monkeypatch.setenv("PARALLAX_RODIN_SCOPE", "mine")
    with pytest.raises(ConfigError, match="PARALLAX_RODIN_SCOPE"):
        settings.load()


async def test_nothing_is_told_where_there_is_nothing(issue, opened):
    """A bare object all the same."""
    async with opened((await issue()).secret) as client:
        answer = await client.get(PATH)
    assert (answer.status_code, answer.json()) == (200, {})


async def test_errors_are_of_its_shape(anonymous, client):
    """Native status, its own body: also at paths of its own at which nothing is served."""
    answer = await anonymous.get(PATH)
    assert answer.status_code == 401
    assert list(answer.json()) == ["error", "message"]
    assert answer.json()["error"] == "MISSING_API_KEY"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    unknown = await client.get("/api/v2/nothing")
    assert (unknown.status_code, unknown.json()["error"]) == (404, "NOT_FOUND")
    posted = await client.post(PATH)
    assert (posted.status_code, posted.json()["error"]) == (405, "METHOD_NOT_ALLOWED")
