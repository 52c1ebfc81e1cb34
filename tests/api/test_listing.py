"""Lists of jobs and the results of groups over HTTP."""

import json
import tracemalloc
from urllib.parse import quote

import msgspec
import pytest
from litestar import Litestar

from admission.limits import Limits
from orchestrator.domain import ids
from orchestrator.store import children
from orchestrator.store.children import Completed, Failed
from tests import factories
from tests.api.streaming import listening

pytestmark = pytest.mark.anyio

BODY = {"query": "shoes", "surfaces": ["chatgpt"], "regions": ["US", "GB"]}
CAPTURE = json.dumps(
    {
        "answer": {"text": "tea " * 1000},
        "evidence": {},
        "provenance": {"adapter": "http", "method": "http", "region": {"requested": "US"}},
    }
)
PLACES = {"position", "positionEstimated", "estimatedStartAt"}


async def submit(client, **fields) -> str:
    answer = await client.post("/v1/search", json=BODY | fields)
    assert answer.status_code == 202
    return answer.json()["jobId"]


async def found(client, **query) -> list[str]:
    """The ids of every page of a list, in order."""
    met: list[str] = []
    while True:
        page = (await client.get("/v1/jobs", params=query)).json()
        met += [job["id"] for job in page["jobs"]]
        if page["nextCursor"] is None:
            return met
        query["cursor"] = page["nextCursor"]


async def complete(worker, *fences, capture: str = factories.CAPTURE):
    done = [Completed(fence, capture, 200) for fence in fences]
    await children.settle(worker.connection, done)


def still(job: dict) -> dict:
    return {name: value for name, value in job.items() if name not in PLACES}


async def test_a_listed_job_is_that_of_its_read(client, worker):
    """In every stage of its life, counts included; where it stands in its queue is not said."""
    job = await submit(client, metadata={"k": "v"}, group="g")

    async def alike() -> str:
        (listed,) = (await client.get("/v1/jobs")).json()["jobs"]
        read = (await client.get(f"/v1/jobs/{job}")).json()["job"]
        assert still(listed) == still(read)
        assert {listed[name] for name in PLACES} == {None}
        return listed["status"]

    stages = [await alike()]
    first, second = await worker.claim()
    stages.append(await alike())
    await complete(worker, first)
    await alike()
    await children.settle(worker.connection, [Failed(second, factories.FAILURE, 503)])
    stages.append(await alike())
    await client.post(f"/v1/jobs/{job}/retry")
    stages.append(await alike())
    await worker.claim()
    stages.append(await alike())
    await client.post(f"/v1/jobs/{job}/cancel")
    await alike()
    assert stages == ["queued", "processing", "partial", "queued", "processing"]
    gone = await submit(client)
    await client.post(f"/v1/jobs/{gone}/cancel")
    (canceled,) = (await client.get("/v1/jobs?status=canceled")).json()["jobs"]
    assert still(canceled) == still((await client.get(f"/v1/jobs/{gone}")).json()["job"])


async def test_pages_are_newest_first_and_meet_each_job_once(client):
    """Whatever the size of a page, the last says null; a job that comes meanwhile moves nothing."""
    made = [await submit(client) for _ in range(5)]
    for limit in (1, 2, 5, 100):
        assert await found(client, limit=limit) == made[::-1]
    first = (await client.get("/v1/jobs?limit=2")).json()
    await submit(client)
    rest = await found(client, cursor=first["nextCursor"])
    assert [job["id"] for job in first["jobs"]] + rest == made[::-1]


async def test_every_filter(client, worker):
    """Each by itself and together with others."""
    old = await submit(client, query="old")
    fences = await worker.claim()
    await complete(worker, *fences)
    site = await submit(client, surfaces=["site"], regions=["US"], group="g", metadata={"a b": "1"})
    both = await submit(client, surfaces=["chatgpt", "site"], regions=["GB"], group="g.2")
    late = await submit(client, delay=60, group="g", metadata={"a b": "1", "c": "ü&="})
    read = (await client.get(f"/v1/jobs/{site}")).json()["job"]["requestedAt"]
    for query, jobs in (
        ({"status": "queued"}, [late, both, site]),
        ({"status": "completed"}, [old]),
        ({"status": "failed"}, []),
        ({"surface": "site"}, [both, site]),
        ({"surface": "site", "region": "gb"}, [both]),
        ({"region": "US"}, [late, site, old]),
        ({"region": "AQ"}, []),
        ({"surface": "nobodys"}, []),
        ({"group": "g"}, [late, site]),
        ({"group": "g", "region": "GB", "status": "queued"}, [late]),
        ({"group": "unknown"}, []),
        ({"metadata.a b": "1"}, [late, site]),
        ({"metadata.a b": "1", "metadata.c": "ü&="}, [late]),
        ({"metadata.a b": "2"}, []),
        ({"createdAfter": read}, [late, both, site]),
        ({"createdBefore": read}, [old]),
        ({"createdAfter": "2999-01-01T00:00:00+01:00"}, []),
        ({"createdAfter": "1999-01-01T00:00:00.5Z", "unknown": "ignored"}, [late, both, site, old]),
    ):
        assert await found(client, **query) == jobs, query
    plus = await client.get(f"/v1/jobs?createdBefore={quote(read[:-1])}+00:00")
    assert [job["id"] for job in plus.json()["jobs"]] == [old], "a plus that came as a space"


BAD = {
    "status": ["", "delayed", "QUEUED", "queued,failed"],
    "surface": ["", "Chat", "a b", "x" * 41],
    "region": ["", "USA", "u1", "us\n"],
    "group": ["", "a b", "x" * 65, "\x00"],
    "limit": ["", "0", "101", "-1", "x"],
    "cursor": ["", "x", "bzE", "é", "p" * 23, "A" * 22],
    "createdAfter": ["", "today", "2026-01-05", "2026-02-30T00:00:00Z", "2026-01-05T09:30:00"],
    "createdBefore": ["1", "2026-01-05T25:00:00Z", "0000-01-01T00:00:00Z"],
    "metadata.": ["x"],
    "metadata." + "k" * 65: ["x"],
    "metadata.k": ["v" * 513, "\x00"],
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_value_has_its_place(client, name):
    """Each is a 400 that says which parameter, and what is allowed."""
    for value in BAD[name]:
        answer = await client.get("/v1/jobs", params={name: value})
        assert answer.status_code == 400, value
        faults = answer.json()["error"]["details"]
        assert [fault["path"] for fault in faults] == [f"?{name}"], value
        assert faults[0]["message"]


async def test_all_bad_values_are_told_at_once(client):
    """Every fault of a list is in one answer."""
    answer = await client.get("/v1/jobs?status=x&region=x&limit=x&cursor=x&createdAfter=x")
    paths = {fault["path"] for fault in answer.json()["error"]["details"]}
    assert paths == {"?status", "?region", "?limit", "?cursor", "?createdAfter"}


async def test_a_list_is_the_keys_own(client, opened, issue):
    """Nobody sees another's jobs, by whatever filter, nor by another's cursor."""
    mine = [await submit(client, group="g", metadata={"k": "v"}) for _ in range(2)]
    cursor = (await client.get("/v1/jobs?limit=1")).json()["nextCursor"]
    async with opened((await issue()).secret) as stranger:
        for query in ({}, {"group": "g"}, {"metadata.k": "v"}, {"cursor": cursor}):
            assert await found(stranger, **query) == []
        assert (await stranger.get("/v1/groups/g/results")).status_code == 404
    assert await found(client, group="g") == mine[::-1]


async def results(client, path: str, **query) -> list[str]:
    """The ids of the cells of every page, in order."""
    met: list[str] = []
    while True:
        page = (await client.get(path, params=query)).json()
        met += [envelope["job"]["id"] for envelope in page["results"]]
        if page["nextCursor"] is None:
            return met
        query["cursor"] = page["nextCursor"]


async def test_the_results_of_a_group_are_those_of_its_parents(client, worker):
    """Every cell once, the oldest parent's first, waiting and ended, whatever the page."""
    made = [await submit(client, group="g", regions=["US", "GB", "FR"][:n]) for n in (1, 3, 2)]
    await submit(client, group="other")
    await worker.claim()
    made.append(await submit(client, group="g"))
    cells = [cell for job in made for cell in await results(client, f"/v1/jobs/{job}/results")]
    assert len(cells) == 8
    for limit in (1, 2, 3, 7, 8, 100):
        assert await results(client, "/v1/groups/g/results", limit=limit) == cells, limit


@pytest.mark.parametrize("view", ["", "?view=flat"])
async def test_the_results_of_a_group_are_the_same_views(client, worker, view):
    """A page of a group, and its lines, show what the parents' own do."""
    jobs = [await submit(client, group="g") for _ in range(2)]
    await complete(worker, *(await worker.claim())[:3], capture=CAPTURE)
    own = [(await client.get(f"/v1/jobs/{job}/results{view}")).json()["results"] for job in jobs]
    page = await client.get(f"/v1/groups/g/results{view}")
    lines = await client.get(
        f"/v1/groups/g/results{view}", headers={"Accept": "application/x-ndjson"}
    )
    assert page.json()["results"] == own[0] + own[1]
    assert [json.loads(line) for line in lines.text.splitlines()] == own[0] + own[1]


async def test_a_group_without_parents_is_none(client):
    """Unknown, malformed and empty: 404."""
    for group in ("unknown", "a b", "x" * 65, "%00"):
        answer = await client.get(f"/v1/groups/{group}/results")
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize(("name", "value"), [("limit", "0"), ("cursor", "bzE"), ("view", "x")])
async def test_bad_values_of_a_groups_results(client, name, value):
    """A fault of the request, with its place."""
    await submit(client, group="g")
    answer = await client.get("/v1/groups/g/results", params={name: value})
    assert [fault["path"] for fault in answer.json()["error"]["details"]] == [f"?{name}"]


async def test_a_parent_erased_between_two_pages_costs_only_its_own_results(client, connection):
    """The next page goes on with the next parent, whole."""
    first, second = [await submit(client, group="g") for _ in range(2)]
    page = (await client.get("/v1/groups/g/results?limit=1")).json()
    await connection.execute("DELETE FROM parent WHERE id = %s", [ids.read(first).parent])
    rest = await results(client, "/v1/groups/g/results", cursor=page["nextCursor"])
    assert rest == [f"{second}.chatgpt.{country}" for country in ("us", "gb")]


PARENTS, CELLS = 60, 50
ENDED = """
INSERT INTO parent (id, key_id, state, priority, lanes, total, done, payload, group_id)
SELECT lpad(to_hex(n), 32, '0')::uuid, %(key)s, 'completed', 5,
       array_fill(%(lane)s::int, ARRAY[%(cells)s]), %(cells)s, %(cells)s, %(payload)s, %(group)s
FROM generate_series(1, %(parents)s) n
"""
FOUND = """
INSERT INTO child (parent_id, ordinal, key_id, lane_id, priority, state, result)
SELECT lpad(to_hex(n), 32, '0')::uuid, o, %(key)s, %(lane)s, 5, 'completed', %(capture)s
FROM generate_series(1, %(parents)s) n, generate_series(1, %(cells)s) o
"""
GROUP = "INSERT INTO parent_group (key_id, name) VALUES (%s, 'g') RETURNING id"


async def seed(connection, key_id: int) -> None:
    """A group of 3,000 results of 4 KB."""
    named = {
        "key": key_id,
        "lane": await factories.lane(connection),
        "group": await factories.scalar(connection, GROUP, key_id),
        "parents": PARENTS,
        "cells": CELLS,
        "payload": msgspec.json.encode(factories.plan(CELLS)).decode(),
        "capture": CAPTURE,
    }
    await connection.execute(ENDED, named)
    await connection.execute(FOUND, named)


async def test_a_stream_of_results_holds_what_a_page_needs(
    app: Litestar, issue, registered, connection
):
    """After thousands of results no more memory is held than after the first hundreds."""
    issued = await issue(**Limits()._asdict())
    await seed(connection, issued.key.id)
    lines = held = most = later = 0
    path = "/v1/groups/g/results"
    tracemalloc.start()
    try:
        async with listening(app, issued.secret, path, accept="application/x-ndjson") as stream:
            while (part := await stream.part()) is not None:
                lines += part.count(b"\n")
                del part
                held = tracemalloc.get_traced_memory()[0]
                most, later = (max(most, held), later) if lines <= 500 else (most, max(later, held))
    finally:
        tracemalloc.stop()
    assert lines == PARENTS * CELLS
    assert stream.sent > 12_000_000
    assert later <= most + 1_000_000
