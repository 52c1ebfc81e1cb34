"""The field `webhook` of a submission: what it may be, and that its secret stays one."""

import base64
import json

import pytest
from psycopg import sql
from pydantic import ValidationError

from orchestrator.api import requests
from orchestrator.api.between import Rules
from orchestrator.api.schemas import SubmitRequest
from orchestrator.domain import ids
from orchestrator.domain.addresses import networks
from orchestrator.domain.webhooks import TELLS_CELLS, TELLS_PARENT
from orchestrator.sealing import Sealer
from orchestrator.settings import Settings
from orchestrator.store import data_keys, parents
from tests import factories

pytestmark = pytest.mark.anyio

KEY = "what secrets are sealed with here"
URL = "https://example.com/hooks?job=1"
SECRET = "whsec_" + base64.b64encode(b"a secret of a webhook").decode()
BODY = {"query": "shoes", "surfaces": ["chatgpt"], "regions": ["US"]}
RULES = Rules("US", 500, sealer=Sealer(KEY))


@pytest.fixture
def settings(database):
    return Settings(database_url=database, secret_key=KEY)


def faults(webhook, rules=RULES, **fields):
    read = requests.parse(json.dumps(BODY | {"webhook": webhook} | fields).encode(), rules)
    return [(fault.path, fault.message) for fault in read] if isinstance(read, list) else []


def paths(webhook, rules=RULES, **fields):
    return [path for path, _ in faults(webhook, rules, **fields)]


def planned(webhook):
    asked = requests.parse(json.dumps(BODY | {"webhook": webhook}).encode(), RULES)
    assert not isinstance(asked, list)
    return asked.plan.webhook


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        (5, ""),
        ([URL], ""),
        (URL, ""),
        ({}, ".url"),
        ({"url": None}, ".url"),
        ({"url": 5}, ".url"),
        ({"url": ""}, ".url"),
        ({"url": "https://example.com/" + "x" * 2029}, ".url"),
        ({"url": "example.com"}, ".url"),
        ({"url": "ftp://example.com/"}, ".url"),
        ({"url": "https://example.com/a b"}, ".url"),
        ({"url": "https://example.com/\0"}, ".url"),
        ({"url": "http://127.0.0.1/"}, ".url"),
        ({"url": "http://[::1]/"}, ".url"),
        ({"url": "http://169.254.169.254/latest"}, ".url"),
        ({"url": "http://localhost/"}, ".url"),
        ({"url": "https://u:p@example.com/"}, ".url"),
        ({"url": "https://example.com:22/"}, ".url"),
        ({"url": URL, "secret": ""}, ".secret"),
        ({"url": URL, "secret": "x" * 257}, ".secret"),
        ({"url": URL, "secret": 5}, ".secret"),
        ({"url": URL, "secret": "a\0b"}, ".secret"),
        ({"url": URL, "secret": "a\ud800b"}, ".secret"),
        ({"url": URL, "secret": "whsec_"}, ".secret"),
        ({"url": URL, "secret": "whsec_="}, ".secret"),
        ({"url": URL, "secret": "whsec_YQ"}, ".secret"),
        ({"url": URL, "secret": "whsec_YQ==\n"}, ".secret"),
        ({"url": URL, "secret": "whsec_Y-_="}, ".secret"),
        ({"url": URL, "events": []}, ".events"),
        ({"url": URL, "events": "job"}, ".events"),
        ({"url": URL, "events": ["job", "job"]}, ".events"),
        ({"url": URL, "events": ["job", "child"]}, ".events[1]"),
        ({"url": URL, "method": "PUT"}, ".method"),
    ],
)
def test_each_fault_names_its_place(wrong, path):
    """A single wrong value is a single fault, at its path, and says neither URL nor secret."""
    ((where, message),) = faults(wrong)
    assert where == f"webhook{path}"
    assert "example.com" not in message


def test_all_faults_are_told_at_once():
    """Those of the webhook beside each other and beside those of other fields."""
    wrong = {"url": "http://10.0.0.1/", "secret": "whsec_!", "events": ["x"], "y": 1}
    assert sorted(paths(wrong, priority=0)) == [
        "priority",
        "webhook.events[0]",
        "webhook.secret",
        "webhook.url",
        "webhook.y",
    ]
    assert paths({"url": "http://10.0.0.1/"}, surfaces=["x", "x"]) == ["webhook.url", "surfaces[1]"]


def test_a_fault_says_what_is_allowed():
    """The address by its kind; what has to stand after `whsec_`; the fields there are."""
    told = dict(faults({"url": "http://127.0.0.1/", "secret": "whsec_!", "events": ["x"], "y": 1}))
    assert "loopback" in told["webhook.url"]
    assert "base64" in told["webhook.secret"]
    assert told["webhook.events[0]"] == "Must be 'job' or 'parent'."
    assert told["webhook.y"] == "Unknown field; allowed: url, secret, events."
    (unknown,) = faults({"url": URL}, hook=1)
    assert "webhook" in unknown[1]


def test_networks_that_are_allowed_may_be_told():
    """`PARALLAX_ALLOW_NETWORKS` opens the addresses it names, and no others."""
    rules = RULES._replace(networks=networks("127.0.0.0/8"))
    assert paths({"url": "http://127.0.0.1:9000/hook"}, rules) == []
    assert paths({"url": "http://10.0.0.1:9000/hook"}, rules) == ["webhook.url"]


def test_without_a_key_to_seal_with_no_secret_is_taken():
    """A fault at the secret, whatever else is wrong with it; a webhook without one is welcome."""
    rules = RULES._replace(sealer=None)
    assert paths({"url": URL}, rules) == paths({"url": URL, "secret": None}, rules) == []
    ((path, message),) = faults({"url": URL, "secret": SECRET}, rules)
    assert path == "webhook.secret"
    assert "PARALLAX_SECRET_KEY" in message
    assert set(paths({"secret": 5}, rules)) == {"webhook.secret", "webhook.url"}


@pytest.mark.parametrize("secret", [SECRET, "whsec_YQ==", "a", "x" * 256, "caf\u00e9 whsec_", " "])
def test_a_secret_is_planned_with_sealed(secret):
    """What is planned opens to the secret and does not show it; its digest is the same again."""
    webhook = planned({"url": URL, "secret": secret})
    again = planned({"url": URL, "secret": secret})
    assert RULES.sealer.open(webhook.sealed) == secret
    assert (webhook.sealed == again.sealed, webhook.digest == again.digest) == (False, True)
    if len(secret) > 1:
        assert secret not in repr(webhook)


def test_events_are_a_set():
    """Both, in either order or by default, are one thing; null is left out."""
    for both in (
        {},
        {"events": None},
        {"events": ["job", "parent"]},
        {"events": ["parent", "job"]},
    ):
        assert planned({"url": URL} | both) == planned({"url": URL})
    assert planned({"url": URL, "events": ["parent"]}).events == ("parent",)
    assert planned(None) is None


def test_no_record_and_no_error_shows_a_secret():
    """Neither the parsed body nor what pydantic says of a bad one."""
    body = BODY | {"webhook": {"url": URL, "secret": SECRET}}
    good = SubmitRequest.model_validate(body)
    assert SECRET not in f"{good!r} {good}"
    for bad in (
        body | {"webhook": {"url": 5, "secret": SECRET}},
        body | {"webhook": {"url": URL, "secret": [SECRET]}},
        body | {"webhook": {"url": URL, "secret": SECRET * 9}},
        body | {"webhook": [SECRET]},
    ):
        with pytest.raises(ValidationError) as caught:
            SubmitRequest.model_validate(bad)
        assert SECRET not in f"{caught.value!r} {caught.value}"


async def tells(connection, *, of: str):
    statement = "SELECT tells FROM parent WHERE id = %s"
    return await factories.scalar(connection, statement, ids.read(of).parent)


async def test_every_way_in_takes_a_webhook(client, connection):
    """Search, a surface's path, a batch: the parent is stored with what it tells."""
    cells, ends = {"url": URL, "events": ["job"]}, {"url": URL, "events": ["parent"]}
    answer = await client.post("/v1/search", json=BODY | {"webhook": {"url": URL}})
    assert await tells(connection, of=answer.json()["jobId"]) == TELLS_CELLS | TELLS_PARENT
    body = {"prompt": "shoes", "webhook": cells}
    answer = await client.post("/v1/search/chatgpt?mode=async", json=body)
    assert await tells(connection, of=answer.json()["jobId"]) == TELLS_CELLS
    items = [BODY | {"webhook": ends}, BODY, BODY | {"webhook": {"url": "http://127.0.0.1/"}}]
    told, quiet, refused = (await client.post("/v1/search/batch", json={"items": items})).json()[
        "items"
    ]
    assert await tells(connection, of=told["job"]["id"]) == TELLS_PARENT
    assert await tells(connection, of=quiet["job"]["id"]) == 0
    assert [fault["path"] for fault in refused["error"]["details"]] == ["webhook.url"]


async def test_a_sync_submission_tells_too(client, connection):
    """Whoever leaves before the end is told of it all the same."""
    body = BODY | {"webhook": {"url": URL}}
    answer = await client.post("/v1/search", json=body, headers={"Prefer": "wait=1"})
    assert answer.status_code == 202
    assert await tells(connection, of=answer.json()["job"]["id"]) == TELLS_CELLS | TELLS_PARENT


async def test_the_same_secret_again_is_the_same_request(client):
    """Sealing it twice differs, the request does not; the order of events says nothing."""
    headers = {"Idempotency-Key": "k"}
    webhook = {"url": URL, "secret": SECRET}
    first = await client.post("/v1/search", json=BODY | {"webhook": webhook}, headers=headers)
    for same in (webhook, webhook | {"events": ["parent", "job"]}, webhook | {"events": None}):
        again = await client.post("/v1/search", json=BODY | {"webhook": same}, headers=headers)
        assert again.json()["jobId"] == first.json()["jobId"]
        assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    "other",
    [
        None,
        {"url": URL},
        {"url": URL, "secret": SECRET.lower()},
        {"url": URL + "2", "secret": SECRET},
        {"url": URL, "secret": SECRET, "events": ["job"]},
    ],
)
async def test_another_webhook_is_another_request(client, other):
    """Another secret, URL or set of events under one idempotency key is a conflict."""
    headers = {"Idempotency-Key": "k"}
    body = BODY | {"webhook": {"url": URL, "secret": SECRET}}
    assert (await client.post("/v1/search", json=body, headers=headers)).status_code == 202
    answer = await client.post("/v1/search", json=body | {"webhook": other}, headers=headers)
    assert answer.status_code == 409


async def test_a_secret_is_nowhere_in_the_database(client, connection):
    """Every row of every table, searched: the secret of a submission is stored sealed alone."""
    body = BODY | {"webhook": {"url": URL, "secret": SECRET}, "idempotencyKey": "k"}
    answers = [await client.post("/v1/search", json=body) for _ in range(2)]
    answers.append(await client.post("/v1/search/batch", json={"items": [body]}))
    job = answers[0].json()["jobId"]
    answers += [await client.get(path) for path in (f"/v1/jobs/{job}", "/v1/jobs")]
    assert {answer.is_success for answer in answers} == {True}
    key = await factories.scalar(connection, "SELECT key_id FROM parent")
    row = await parents.read(connection, key_id=key, parent=ids.read(job).parent)
    sealer = await data_keys.sealer(connection, KEY)
    assert sealer.open(row.plan.webhook.sealed) == SECRET
    for name, said in [*await dump(connection), *(("answer", a.text) for a in answers)]:
        assert SECRET not in said, name
        assert SECRET.removeprefix("whsec_") not in said, name
        assert "a secret of a webhook" not in said, name


async def dump(connection, sure="parent"):
    """Each row of the database as text, by its table; this one has some."""
    tables = await connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    found = []
    for (name,) in await tables.fetchall():
        rows = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(name))
        found += [(name, row) for (row,) in await (await connection.execute(rows)).fetchall()]
    assert sure in dict(found)
    return found
