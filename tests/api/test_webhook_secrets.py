"""The secrets of an API key over HTTP: made, listed, revoked, and told once."""

import base64
import re
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.domain import ids
from orchestrator.settings import Settings
from orchestrator.store import data_keys, webhook_secrets
from orchestrator.store.webhook_secrets import MOST
from tests import factories
from tests.api.test_webhooks import KEY, dump

pytestmark = pytest.mark.anyio

PATH = "/v1/webhooks/secrets"
OWN = "whsec_" + base64.b64encode(b"a secret of one's own").decode()


@pytest.fixture
def settings(database):
    return Settings(database_url=database, secret_key=KEY)


async def create(client, **body):
    answer = await client.post(PATH, json=body) if body else await client.post(PATH)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def listed(client):
    return (await client.get(PATH)).json()["secrets"]


async def signing(connection):
    """The secrets that sign what the one key's jobs tell, newest first."""
    (key,) = await (await connection.execute("SELECT id FROM api_key")).fetchone()
    sealed = await webhook_secrets.sealed(connection, [key])
    sealer = await data_keys.sealer(connection, KEY)
    return [sealer.open(one) for one in sealed.get(key, ())]


async def test_a_secret_is_made_and_told_once(client, connection):
    """32 random bytes under `whsec_`; it signs from then on, and no list shows it."""
    made = await create(client)
    assert made.keys() == {"id", "secret"}
    assert re.fullmatch("whs_[0-9a-v]{26}", made["id"])
    assert len(base64.b64decode(made["secret"].removeprefix("whsec_"))) == 32
    assert (await create(client))["secret"] != made["secret"]
    assert made["secret"] in await signing(connection)
    assert made["secret"] not in (await client.get(PATH)).text


@pytest.mark.parametrize("own", [OWN, "x" * 16, "x" * 256, "caf\u00e9 " * 4, "whsec_" + "A" * 248])
async def test_a_secret_of_ones_own_is_taken_as_it_is(client, connection, own):
    """Base64 after `whsec_` or any text of 16 to 256 characters."""
    assert (await create(client, secret=own))["secret"] == own
    assert await signing(connection) == [own]


async def test_several_secrets_sign_until_they_are_revoked_or_end(client, connection):
    """Listed newest first with when each came and ends; the revoked and the expired are gone."""
    ends = datetime.now(UTC) + timedelta(days=1)
    first = await create(client, expiresAt=ends.isoformat())
    second, third = await create(client), await create(client, expiresAt=None, secret=OWN)
    shown = await listed(client)
    assert [one["id"] for one in shown] == [one["id"] for one in (third, second, first)]
    assert [one["expiresAt"] for one in shown[:2]] == [None, None]
    told = datetime.fromisoformat(shown[2]["expiresAt"])
    assert abs(told - ends) < timedelta(milliseconds=1)
    assert datetime.fromisoformat(shown[0]["createdAt"]) <= datetime.now(UTC)
    assert await signing(connection) == [one["secret"] for one in (third, second, first)]
    answer = await client.delete(f"{PATH}/{second['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    await connection.execute(
        "UPDATE webhook_secret SET expires_at = now() WHERE expires_at IS NOT NULL"
    )
    assert [one["id"] for one in await listed(client)] == [third["id"]]
    assert await signing(connection) == [OWN]


async def test_a_key_has_ten_live_secrets_at_most(client, connection):
    """The next is a 400 that says what to do; what is revoked or over makes room."""
    made = [await create(client, expiresAt="2999-01-01T00:00:00Z") for _ in range(MOST)]
    answer = await client.post(PATH)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "VALIDATION_FAILED"
    assert "revoke" in answer.json()["error"]["details"][0]["message"]
    await client.delete(f"{PATH}/{made[0]['id']}")
    await create(client)
    await connection.execute(
        "UPDATE webhook_secret SET expires_at = now() WHERE id = %s",
        [ids.read_webhook_secret(made[1]["id"])],
    )
    await create(client)
    assert (await client.post(PATH)).status_code == 400


@pytest.mark.parametrize(
    ("wrong", "paths"),
    [
        ([], [""]),
        ({"secret": "x" * 15}, ["secret"]),
        ({"secret": "x" * 257}, ["secret"]),
        ({"secret": "whsec_" + "!" * 20}, ["secret"]),
        ({"secret": "x" * 20 + "\0"}, ["secret"]),
        ({"secret": 5, "expiresAt": 5, "x": 1}, ["expiresAt", "secret", "x"]),
        ({"expiresAt": "tomorrow"}, ["expiresAt"]),
        ({"expiresAt": "2026-01-05"}, ["expiresAt"]),
        ({"expiresAt": "2001-01-01T00:00:00Z", "secret": ""}, ["expiresAt", "secret"]),
        ({"expiresAt": "9999-12-31T23:59:59-23:59"}, ["expiresAt"]),
    ],
)
async def test_all_that_is_wrong_is_told(client, connection, wrong, paths):
    """Each fault at its place, what stands in the query too; nothing is stored."""
    answer = await client.post(f"{PATH}?x=1", json=wrong)
    assert answer.status_code == 400
    faults = answer.json()["error"]["details"]
    assert sorted(fault["path"] for fault in faults) == sorted(["?x", *paths])
    assert await factories.scalar(connection, "SELECT count(*) FROM webhook_secret") == 0


async def test_a_body_is_json_or_nothing(client):
    """An empty object, no body, or one of no bytes is a secret by default; text is a 415."""
    for content in (b"{}", b"", b"null"):
        answer = await client.post(PATH, content=content)
        assert answer.status_code == (400 if content == b"null" else 201)
    answer = await client.post(PATH, content="x", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


async def test_a_secret_is_the_keys_own(client, opened, issue):
    """Nobody else lists or revokes it; what was revoked is unknown, as what never was."""
    made = await create(client)
    async with opened((await issue()).secret) as stranger:
        assert await listed(stranger) == []
        assert (await stranger.delete(f"{PATH}/{made['id']}")).status_code == 404
    assert (await client.delete(f"{PATH}/{made['id']}?x=1")).status_code == 400
    assert (await client.delete(f"{PATH}/{made['id']}")).status_code == 204
    for name in (made["id"], made["id"].upper(), "whs_" + "0" * 26, "x", "res_" + "0" * 26):
        answer = await client.delete(f"{PATH}/{name}")
        assert answer.status_code == 404, name
        assert answer.json()["error"]["code"] == "NOT_FOUND"


async def test_a_secret_is_nowhere_in_the_database(client, connection):
    """Only sealed: no row of any table has what was told."""
    made, own = await create(client), await create(client, secret=OWN)
    for name, said in await dump(connection, "webhook_secret"):
        assert made["secret"][6:] not in said, name
        assert own["secret"][6:] not in said, name


async def test_the_path_says_what_it_takes(client):
    """OPTIONS and a wrong method both name GET and POST."""
    told = await client.options(PATH)
    refused = await client.put(PATH)
    assert refused.status_code == 405
    for answer in (told, refused):
        assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))


class TestWithoutAKeyToSealWith:
    """A server whose operator has set no PARALLAX_SECRET_KEY."""

    @pytest.fixture
    def settings(self, database):
        return Settings(database_url=database)

    async def test_no_secret_is_made(self, client):
        """503 with what the operator has to do; there are none to list or revoke."""
        answer = await client.post(PATH, json={"secret": OWN})
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
        assert "PARALLAX_SECRET_KEY" in answer.json()["error"]["message"]
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert await listed(client) == []
        assert (await client.delete(f"{PATH}/whs_{'0' * 26}")).status_code == 404

    async def test_no_secret_of_a_submission_is_taken(self, client):
        """400 at the secret; without one the job is taken."""
        webhook = {"url": "https://example.com/"}
        body = {"query": "shoes", "surfaces": ["chatgpt"]}
        refused = await client.post(
            "/v1/search", json=body | {"webhook": webhook | {"secret": OWN}}
        )
        assert [fault["path"] for fault in refused.json()["error"]["details"]] == ["webhook.secret"]
        assert (
            await client.post("/v1/search", json=body | {"webhook": webhook})
        ).status_code == 202
