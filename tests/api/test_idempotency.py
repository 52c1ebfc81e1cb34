"""The same request again, in every mode."""

import pytest

from tests import factories
from tests.api.test_sync import BODY, TWO, asking, running, work
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

KEY = {"Idempotency-Key": "order 66"}
REPLAYED = "Idempotent-Replayed"


async def parents(connection):
    return await factories.scalar(connection, "SELECT count(*) FROM parent")


async def test_a_replay_is_answered_202_with_the_same_ids_and_the_present_status(
    client, worker, connection
):
    """`Idempotent-Replayed: true`; the first answer has no such header."""
    first = await client.post("/v1/search", json=TWO, headers=KEY)
    assert REPLAYED not in first.headers
    await eventually(worker.claim)
    again = await client.post("/v1/search", json=TWO, headers=KEY)
    assert again.status_code == 202
    assert again.headers[REPLAYED] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert again.json() == {**first.json(), "status": "processing"}
    assert await parents(connection) == 1


async def test_the_key_may_stand_in_the_body(client, connection):
    """Body field and header are one thing; both may be given when they are equal."""
    body = {**BODY, "idempotencyKey": "order 66"}
    first = await client.post("/v1/search", json=body)
    for headers, other in ((KEY, BODY), (KEY, body), ({}, body)):
        again = await client.post("/v1/search", json=other, headers=headers)
        assert again.json()["jobId"] == first.json()["jobId"]
        assert again.headers[REPLAYED] == "true"
    assert await parents(connection) == 1


async def test_keys_that_differ_between_header_and_body_are_a_400(client):
    """Given twice and unequal: nobody guesses which was meant."""
    body = {**BODY, "idempotencyKey": "order 67"}
    answer = await client.post("/v1/search", json=body, headers=KEY)
    assert answer.status_code == 400
    (fault,) = answer.json()["error"]["details"]
    assert fault["path"] == "idempotencyKey"
    twice = [*KEY.items(), ("Idempotency-Key", "other")]
    answer = await client.post("/v1/search", json=BODY, headers=twice)
    assert answer.status_code == 400
    (fault,) = answer.json()["error"]["details"]
    assert fault["path"] == "Idempotency-Key"


@pytest.mark.parametrize("name", ["", "x" * 256, "a\tb"])
async def test_a_key_has_1_to_255_printable_characters(client, name):
    """A header that is none is refused with what is allowed."""
    answer = await client.post("/v1/search", json=BODY, headers={"Idempotency-Key": name})
    assert answer.status_code == 400
    (fault,) = answer.json()["error"]["details"]
    assert fault["path"] == "Idempotency-Key"
    assert "255" in fault["message"]


async def test_equal_requests_are_those_that_parse_the_same(client, connection):
    """Aliases, shorthand, defaults, the endpoint, mode and order of fields make no difference."""
    same = [
        ("/v1/search", {"query": "tea", "surfaces": ["chatgpt"]}),
        ("/v1/search", {"surfaces": ["chatgpt"], "prompt": "tea"}),
        ("/v1/search", {"query": "tea", "surfaces": ["chatgpt"], "regions": ["us"]}),
        ("/v1/search", {"query": "tea", "surfaces": ["chatgpt"], "regions": [{"country": "US"}]}),
        ("/v1/search", {"query": "tea", "surfaces": ["chatgpt"], "priority": 5, "metadata": {}}),
        ("/v1/search?mode=async", {"query": "tea", "surfaces": ["chatgpt"], "options": None}),
        ("/v1/search/chatgpt?mode=async", {"prompt": "tea"}),
        ("/v1/search/chatgpt?mode=async", {"query": "tea", "country": "us"}),
    ]
    answers = [await client.post(path, json=body, headers=KEY) for path, body in same]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["jobId"] for answer in answers}) == 1
    assert await parents(connection) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"query": "Shoes"},
        {"surfaces": ["site"]},
        {"regions": ["GB"]},
        {"priority": 6},
        {"maxAttempts": 2},
        {"metadata": {"a": "b"}},
        {"options": {"chatgpt": {"mood": "dry"}}},
    ],
)
async def test_another_request_under_the_key_is_a_409_in_every_mode(client, connection, other):
    """Whatever differs, nothing is stored and the code is `IDEMPOTENCY_CONFLICT`."""
    first = await client.post("/v1/search", json=BODY, headers=KEY)
    for path in ("/v1/search", "/v1/search?mode=sync"):
        answer = await client.post(path, json={**BODY, **other}, headers=KEY)
        assert answer.status_code == 409
        error = answer.json()["error"]
        assert error["code"] == "IDEMPOTENCY_CONFLICT"
        assert error["details"] == {"jobId": first.json()["jobId"]}
    assert await parents(connection) == 1


async def test_a_sync_replay_of_an_ended_job_is_its_answer(client, worker, connection):
    """200 at once with the same Envelope; no place is needed."""
    async with asking(client, Idempotency_Key="k") as call:
        await work(worker)
    await connection.execute("UPDATE api_key SET sync_limit = 0")
    again = await client.post("/v1/search?mode=sync", json=BODY, headers={"Idempotency-Key": "k"})
    assert again.status_code == 200
    assert again.headers[REPLAYED] == "true"
    assert again.json() == call.result().json()
    assert await parents(connection) == 1


async def test_a_sync_replay_waits_for_the_same_job(client, worker, connection):
    """Submitted async, asked for sync: two callers wait and both read the one answer."""
    first = await client.post("/v1/search", json=BODY, headers=KEY)
    async with (
        asking(client, Idempotency_Key="order 66") as one,
        asking(client, Idempotency_Key="order 66") as other,
    ):
        await eventually(lambda: running(worker, 2))
        assert await work(worker) == 1
    for call in (one, other):
        assert call.result().status_code == 200
        assert call.result().headers[REPLAYED] == "true"
        assert call.result().json()["job"]["id"].startswith(first.json()["jobId"])
    assert await parents(connection) == 1


async def test_a_sync_replay_without_a_free_place_is_a_202_with_the_job(
    issue, registered, opened, worker
):
    """It is told of the job instead of being refused."""
    async with opened((await issue(sync_limit=1)).secret) as client:
        async with asking(client, Idempotency_Key="k") as call:
            await eventually(lambda: running(worker, 1))
            again = await client.post(
                "/v1/search?mode=sync", json=BODY, headers={"Idempotency-Key": "k"}
            )
            await work(worker)
        assert again.status_code == 202
        assert again.headers[REPLAYED] == "true"
        assert again.headers["Location"] == call.result().headers["Location"]
        assert again.json()["job"]["status"] == "processing"
        assert int(again.headers["Retry-After"]) >= 1


async def test_a_replayed_wait_that_ends_first_leaves_the_job_as_it_was(client, connection):
    """504 or 202 by how it was asked; an async job stays async."""
    await client.post("/v1/search", json=BODY, headers=KEY)
    again = await client.post("/v1/search", json=BODY, headers={**KEY, "Prefer": "wait=1"})
    assert again.status_code == 202
    assert again.headers[REPLAYED] == "true"
    assert again.headers["Preference-Applied"] == "wait=1"
    statement = "SELECT state || ' ' || mode FROM parent"
    assert await factories.scalar(connection, statement) == "queued async"
    assert await factories.scalar(connection, "SELECT count(*) FROM sync_wait") == 0


async def test_a_replay_takes_no_place_of_a_full_queue(issue, registered, opened):
    """The check for a replay comes before capacity."""
    async with opened((await issue(queue_capacity=1)).secret) as client:
        first = await client.post("/v1/search", json=BODY, headers=KEY)
        assert (await client.post("/v1/search", json=BODY)).status_code == 429
        again = await client.post("/v1/search", json=BODY, headers=KEY)
        assert again.json()["jobId"] == first.json()["jobId"]


async def dead(client):
    """Whether the application has heard of the dead lane: what it knows is a second old at most."""
    answer = await client.post("/v1/search", json=BODY, headers={"Prefer": "wait=1"})
    return answer.status_code == 503


async def test_a_replay_is_answered_although_its_lanes_are_dead(client, worker, connection):
    """The check for a replay comes before the look at the lanes."""
    async with asking(client, Idempotency_Key="k") as call:
        await work(worker)
    await connection.execute("UPDATE lane SET open_until = now() + interval '500 seconds'")
    await eventually(lambda: dead(client))
    again = await client.post("/v1/search?mode=sync", json=BODY, headers={"Idempotency-Key": "k"})
    assert again.status_code == 200
    assert again.json() == call.result().json()
