"""`PARALLAX_SECRET_KEY` while a server is run: changed, lost, put back."""

from contextlib import asynccontextmanager

import pytest

from orchestrator.api import services
from orchestrator.api.traffic import Traffic
from orchestrator.settings import Settings
from tests.api.test_webhooks import BODY, SECRET, URL

pytestmark = pytest.mark.anyio
OLD, NEW = "the key of the years before today", "the key of the years from today on"
HEADERS = {"Idempotency-Key": "k"}
SIGNED = BODY | {"webhook": {"url": URL, "secret": SECRET}}


@pytest.fixture
def settings(database):
    return Settings(database_url=database, secret_key=OLD)


@pytest.fixture
def restarted(app, database):
    """The same server, started again with these keys."""

    @asynccontextmanager
    async def start(keys: str):
        changed, before = Settings(database_url=database, secret_key=keys), app.state["services"]
        async with services.opened(changed, database, traffic=Traffic()) as here:
            app.state["services"] = here
            yield
            app.state["services"] = before

    return start


async def test_a_replay_is_known_through_a_change_of_keys(client, restarted):
    """old; old,new; new,old; new: the same submission with its secret is the same job."""
    first = await client.post("/v1/search", json=SIGNED, headers=HEADERS)
    assert first.status_code == 202
    for keys in (f"{OLD},{NEW}", f"{NEW},{OLD}", NEW):
        async with restarted(keys):
            again = await client.post("/v1/search", json=SIGNED, headers=HEADERS)
        assert again.json()["jobId"] == first.json()["jobId"], keys
        assert again.headers["Idempotent-Replayed"] == "true"


async def test_with_a_key_that_opens_nothing_no_secret_is_taken(client, restarted):
    """It could not be opened by those with the right one; all else goes on."""
    assert (await client.post("/v1/search", json=SIGNED)).status_code == 202
    async with restarted(NEW):
        refused = await client.post("/v1/search", json=SIGNED)
        assert refused.status_code == 400
        assert "PARALLAX_SECRET_KEY" in refused.text
        assert not (await client.post("/v1/webhooks/secrets")).is_success
        assert (await client.post("/v1/search", json=BODY)).status_code == 202
    async with restarted(OLD):
        assert (await client.post("/v1/search", json=SIGNED)).status_code == 202
