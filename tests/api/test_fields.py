"""The fields that steer a job: delay, deadline, finish, group, maxCredits."""

import msgspec
import pytest

from orchestrator.domain import ids
from orchestrator.store import parents, surfaces
from tests import factories
from tests.api.conftest import CHATGPT

pytestmark = pytest.mark.anyio

BODY = {"query": "shoes", "surfaces": ["chatgpt"], "regions": ["US", "GB"]}
PLACED = """
SELECT state, round(extract(epoch FROM not_before - created_at), 3)::float8,
       round(extract(epoch FROM deadline_at - created_at), 3)::float8, finish,
       (SELECT name FROM parent_group g WHERE g.id = group_id AND g.key_id = parent.key_id),
       estimated
FROM parent
"""


async def priced(connection, cost):
    """Have a cell of the surface cost so much from here on."""
    await surfaces.register(connection, [msgspec.structs.replace(CHATGPT, credits=cost)])


@pytest.fixture
async def client(connection, registered, issue, opened):
    """A client of a server on which a cell costs five credits."""
    await priced(connection, 5)
    async with opened((await issue()).secret) as made:
        yield made


async def count(connection):
    return await factories.scalar(connection, "SELECT count(*) FROM parent")


async def test_what_steers_a_job_is_stored_with_it(client, connection):
    """Delay and deadline from acceptance, enough cells, the group, and what it may cost."""
    steered = {"delay": 1.5, "deadline": 60, "finish": {"atLeast": 1}, "group": "night-1"}
    answer = await client.post("/v1/search", json={**BODY, **steered, "maxCredits": 10})
    assert answer.status_code == 202
    assert answer.json()["status"] == "queued"
    row = await (await connection.execute(PLACED)).fetchone()
    assert row == ("delayed", 1.5, 60.0, 1, "night-1", 10)


async def test_without_them_a_job_waits_for_nothing_and_never_expires(client, connection):
    """Null is left out."""
    nothing = dict.fromkeys(("delay", "deadline", "finish", "group", "maxCredits"))
    answer = await client.post("/v1/search", json={**BODY, **nothing})
    assert answer.status_code == 202
    row = await (await connection.execute(PLACED)).fetchone()
    assert row == ("queued", None, None, None, None, 10)


async def test_a_surfaces_path_takes_them_too(client, connection):
    """The same fields, the same job."""
    body = {"prompt": "shoes", "delay": 2, "deadline": 9, "finish": {"atLeast": 1}, "group": "g"}
    answer = await client.post("/v1/search/chatgpt?mode=async", json={**body, "maxCredits": 5})
    assert answer.status_code == 202
    row = await (await connection.execute(PLACED)).fetchone()
    assert row == ("delayed", 2.0, 9.0, None, "g", 5), "one cell is all cells"


async def test_what_is_delayed_cannot_be_waited_for(client, connection):
    """Sync with a delay is a 400 at `delay`, however the wait is asked for."""
    for path, headers in (
        ("/v1/search?mode=sync", {}),
        ("/v1/search", {"Prefer": "wait=1"}),
        ("/v1/search/chatgpt", {}),
    ):
        body = BODY if path != "/v1/search/chatgpt" else {"prompt": "shoes"}
        answer = await client.post(path, json={**body, "delay": 1}, headers=headers)
        assert answer.status_code == 400
        assert [fault["path"] for fault in answer.json()["error"]["details"]] == ["delay"]
    assert await count(connection) == 0


async def test_each_of_them_makes_another_request(client):
    """Under one idempotency key a job with another delay, deadline, finish … is a conflict."""
    headers = {"Idempotency-Key": "k"}
    first = await client.post("/v1/search", json={**BODY, "group": "a"}, headers=headers)
    assert first.status_code == 202
    again = await client.post("/v1/search", json={**BODY, "group": "a"}, headers=headers)
    assert again.headers["Idempotent-Replayed"] == "true"
    for other in (
        {},
        {"group": "b"},
        {"group": "a", "delay": 1},
        {"group": "a", "deadline": 5},
        {"group": "a", "finish": {"atLeast": 1}},
        {"group": "a", "maxCredits": 50},
    ):
        answer = await client.post("/v1/search", json={**BODY, **other}, headers=headers)
        assert answer.status_code == 409, other


async def test_an_estimate_above_max_credits_is_refused_with_both_numbers(client, connection):
    """403 INSUFFICIENT_CREDITS; what costs no more than allowed is taken."""
    answer = await client.post("/v1/search", json={**BODY, "maxCredits": 9})
    assert answer.status_code == 403
    error = answer.json()["error"]
    assert (error["code"], error["status"]) == ("INSUFFICIENT_CREDITS", 403)
    assert error["details"] == {"estimated": 10, "maxCredits": 9}
    assert await count(connection) == 0
    assert (await client.post("/v1/search", json={**BODY, "maxCredits": 10})).status_code == 202
    waits = await client.post("/v1/search?mode=sync", json={**BODY, "maxCredits": 9})
    assert waits.status_code == 403


async def test_credits_come_before_the_room(connection, registered, issue, opened):
    """A full queue hides no price: 403, not 429."""
    await priced(connection, 5)
    async with opened((await issue(queue_capacity=0)).secret) as client:
        dear = await client.post("/v1/search", json={**BODY, "maxCredits": 9})
        full = await client.post("/v1/search", json={**BODY, "maxCredits": 10})
    assert (dear.status_code, full.status_code) == (403, 429)


async def test_the_price_is_that_of_the_day(client, connection):
    """What a job costs is what its surfaces cost as it was admitted."""
    answer = await client.post("/v1/search", json=BODY)
    parent = ids.read(answer.json()["jobId"]).parent
    key = await factories.scalar(connection, "SELECT key_id FROM parent")
    row = await parents.read(connection, key_id=key, parent=parent)
    assert row is not None
    assert (row.plan.costs, row.estimated) == ({"chatgpt": 5}, 10)
