"""Submitting a parent over HTTP."""

import anyio
import pytest

from orchestrator.domain import ids
from orchestrator.store import parents

pytestmark = pytest.mark.anyio

BODY = {"query": "shoes", "surfaces": ["chatgpt"]}


async def test_a_submission_is_answered_202_with_its_location_and_the_ids_of_all_children(client):
    """202 names the parent, its children surface-major in request order, and where to read it."""
    body = {
        "query": "shoes",
        "surfaces": ["site", "chatgpt"],
        "regions": ["us", {"country": "gb", "city": "New York", "language": "en"}],
    }
    answer = await client.post("/v1/search", json=body)
    assert answer.status_code == 202
    job = answer.json()["jobId"]
    assert answer.headers["Location"] == f"/v1/jobs/{job}"
    assert answer.json() == {
        "jobId": job,
        "status": "queued",
        "children": [
            f"{job}.site.us",
            f"{job}.site.gb_new-york_en",
            f"{job}.chatgpt.us",
            f"{job}.chatgpt.gb_new-york_en",
        ],
        "warnings": [
            {"code": "no_worker", "message": f"No live worker serves {name} now; its cells wait."}
            for name in ("site", "chatgpt")
        ],
    }


async def test_a_live_worker_leaves_nothing_to_warn_of(client, worker):
    """`no_worker` is only said of a surface no live worker serves."""
    answer = await client.post("/v1/search", json=BODY)
    assert answer.json()["warnings"] == []


async def test_an_accepted_parent_is_stored_with_its_parsed_plan(
    registered, issue, opened, connection
):
    """What was answered 202 is in the database, aliases and defaults resolved."""
    issued = await issue()
    async with opened(issued.secret) as client:
        job = (
            await client.post("/v1/search?mode=async", json={"prompt": "a", "surfaces": ["site"]})
        ).json()["jobId"]
    row = await parents.read(connection, key_id=issued.key.id, parent=ids.read(job).parent)
    assert row is not None
    assert (row.plan.query, row.plan.surfaces, row.priority) == ("a", ("site",), 5)
    assert [region.country for region in row.plan.regions] == ["US"]


async def test_every_fault_is_reported_at_once(client):
    """One 400 lists the query parameter, each bad field and what clashes between them."""
    body = {
        "query": "",
        "prompt": "too",
        "surfaces": ["chatgpt", "chatgpt", "Bad Name", 7],
        "regions": ["zz", "US", {"country": "us"}, {"country": "GB", "planet": "Mars"}, 5],
        "priority": 11,
        "maxAttempts": 0,
        "options": {"site": {}},
        "metadata": {"k": 1},
        "deadline": 0.5,
        "delay": -1,
        "finish": {"atLeast": 99, "most": 1},
        "group": "a b",
        "maxCredits": 0.5,
        "planet": 1,
    }
    answer = await client.post("/v1/search?dry=1", json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["status"]) == ("VALIDATION_FAILED", 400)
    assert {fault["path"] for fault in error["details"]} == {
        "?dry",
        "query",
        "prompt",
        "surfaces[1]",
        "surfaces[2]",
        "surfaces[3]",
        "regions[0].country",
        "regions[2]",
        "regions[3].planet",
        "regions[4]",
        "priority",
        "maxAttempts",
        "options.site",
        "metadata.k",
        "deadline",
        "delay",
        "finish.most",
        "finish.atLeast",
        "group",
        "maxCredits",
        "planet",
    }


async def test_an_unknown_surface_refuses_the_whole_request_and_says_what_exists(client):
    """UNSUPPORTED_SURFACE lists every impossible cell and every surface there is."""
    body = {"query": "a", "surfaces": ["chatgpt", "altavista", "site"], "regions": ["US", "FR"]}
    error = (await client.post("/v1/search", json=body)).json()["error"]
    assert (error["code"], error["status"]) == ("UNSUPPORTED_SURFACE", 400)
    assert error["message"] == (
        "These cells cannot be captured here: altavista in US, FR; site in FR."
        " What exists: chatgpt (any country), site (GB, US)."
    )
    assert [fault["path"] for fault in error["details"]] == ["surfaces[1]", "regions[1].country"]


async def test_a_country_a_surface_does_not_serve_refuses_the_whole_request(client):
    """UNSUPPORTED_REGION when the surface exists and the cell does not."""
    body = {"query": "a", "surfaces": ["site", "chatgpt"], "regions": ["US", "FR"]}
    error = (await client.post("/v1/search", json=body)).json()["error"]
    assert error["code"] == "UNSUPPORTED_REGION"
    assert error["details"] == [{"path": "regions[1].country", "message": "site in FR"}]


async def test_options_are_checked_against_the_schema_the_surface_published(client):
    """Options that break the published JSON Schema are faults with their place inside it."""
    body = BODY | {"options": {"chatgpt": {"depth": "deep", "mood": "wet"}}}
    error = (await client.post("/v1/search", json=body)).json()["error"]
    assert error["code"] == "VALIDATION_FAILED"
    assert [fault["path"] for fault in error["details"]] == [
        "options.chatgpt.depth",
        "options.chatgpt.mood",
    ]
    good = await client.post("/v1/search", json=BODY | {"options": {"chatgpt": {"depth": 2}}})
    assert good.status_code == 202


async def test_an_option_too_large_for_its_schema_to_judge_is_a_fault(client):
    """An integer beyond every float cannot be divided by a schema; it is refused, not a crash."""
    huge = b'{"query":"a","surfaces":["chatgpt"],"options":{"chatgpt":{"depth":1%s}}}'
    answer = await client.post("/v1/search", content=huge % (b"0" * 400))
    assert answer.status_code == 400
    assert answer.json()["error"]["details"][0]["path"].startswith("options.chatgpt")


async def test_without_a_registered_surface_there_is_nothing_to_submit_to(issue, opened):
    """503 with Retry-After until the first worker has registered what it serves."""
    async with opened((await issue()).secret) as client:
        answer = await client.post("/v1/search", json=BODY)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


async def test_a_full_queue_is_a_429_that_says_what_to_watch_and_when_to_come_back(
    registered, issue, opened
):
    """QUEUE_CAPACITY_EXCEEDED has Retry-After, the concurrency headers and all its numbers."""
    async with opened((await issue(queue_capacity=1, sync_limit=3)).secret) as client:
        assert (await client.post("/v1/search", json=BODY)).status_code == 202
        answer = await client.post("/v1/search", json=BODY)
    assert answer.status_code == 429
    error, headers = answer.json()["error"], answer.headers
    seconds = int(headers["Retry-After"])
    assert 1 <= seconds <= 60
    assert error["code"] == "QUEUE_CAPACITY_EXCEEDED"
    assert error["details"] == {
        "limit": 1,
        "current": 1,
        "requested": 1,
        "watch": "admissionQueue",
        "retryAfterSeconds": seconds,
    }
    assert headers["X-Concurrency-Limit"] == "3"
    assert headers["X-Concurrency-Running"] == "0"
    assert headers["X-Concurrency-Queued"] == "1"


async def test_requests_at_once_never_take_more_places_than_there_are(registered, issue, opened):
    """Of twenty submissions at once to a queue of seven, seven are accepted."""
    statuses = []

    async def submit(client):
        statuses.append((await client.post("/v1/search", json=BODY)).status_code)

    secret = (await issue(queue_capacity=7)).secret
    async with opened(secret) as client, anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(submit, client)
    assert sorted(statuses) == [202] * 7 + [429] * 13


async def test_a_refused_submission_takes_no_place(client):
    """A 400 leaves the admission queue as it was."""
    await client.post("/v1/search", json=BODY | {"surfaces": ["nowhere"]})
    snapshot = (await client.get("/v1/async/status")).json()
    assert snapshot["admissionQueue"]["depth"] == 0
