"""Reading jobs over HTTP, through a life of a parent on the real store."""

import json

import msgspec
import pytest

from orchestrator.domain import ids
from orchestrator.domain.envelope import (
    Answer,
    Capture,
    Evidence,
    Failure,
    Provenance,
    Seen,
    Source,
    Warning,  # noqa: A004 - the contract's word
)
from orchestrator.store import children, surfaces
from orchestrator.store.children import Completed, Failed, Retry
from orchestrator.surfaces import SurfaceDescriptor

pytestmark = pytest.mark.anyio

FOUND = Capture(
    answer=Answer(text="Three shoes", markdown="**Three** shoes"),
    evidence=Evidence(sources=(Source(id=1, url="https://example.com/"),)),
    provenance=Provenance(
        adapter="simulator",
        method="simulator",
        region=Seen(requested="US", effective="US"),
        surface_present=True,
    ),
    raw={"upstream": [1]},
    warnings=(Warning(code="characters_replaced", message="One was."),),
)
CAPTURE = msgspec.json.encode(FOUND).decode()
TIMEOUT = Failure(code="UPSTREAM_TIMEOUT", message="It took too long.", retryable=True)
BROKEN = Failure(code="BAD_RESPONSE", message="It made no sense.", retryable=False)
BODY = {"query": "shoes", "surfaces": ["chatgpt"], "regions": ["US", "GB", "FR", "DE"]}


async def submit(client, body=BODY) -> str:
    return (await client.post("/v1/search", json=body)).json()["jobId"]


async def test_a_parent_is_read_in_every_stage_of_its_life(client, worker):
    """Waiting, processing with mixed children, then partial: counts and children agree always."""
    job = await submit(client, BODY | {"metadata": {"k": "v"}})
    waiting = (await client.get(f"/v1/jobs/{job}")).json()
    assert waiting["job"]["status"] == "queued"
    assert waiting["job"]["metadata"] == {"k": "v"}
    assert waiting["job"]["counts"]["waiting"] == 4
    assert {child["waiting"]["reason"] for child in waiting["children"]} == {"admission"}

    first, second, third, fourth = await worker.claim()
    await children.settle(
        worker.connection,
        [Completed(first, CAPTURE, 200), Failed(second, BROKEN, 502), Retry(third, TIMEOUT, 60.0)],
    )
    running = (await client.get(f"/v1/jobs/{job}")).json()
    assert running["job"]["status"] == "processing"
    assert [child["status"] for child in running["children"]] == [
        "completed",
        "failed",
        "queued",
        "processing",
    ]
    assert running["job"]["counts"] == {
        "waiting": 0,
        "queued": 1,
        "processing": 1,
        "completed": 1,
        "failed": 1,
        "canceled": 0,
        "expired": 0,
    }
    assert running["children"][2]["waiting"]["reason"] == "retry"
    assert running["children"][2]["waiting"]["until"].endswith("Z")

    await worker.connection.execute("UPDATE child SET run_at = now() WHERE state = 'retrying'")
    await children.stage(worker.connection)
    (again,) = await worker.claim()
    await children.settle(
        worker.connection, [Completed(fourth, CAPTURE, 200), Completed(again, CAPTURE, 200)]
    )
    ended = (await client.get(f"/v1/jobs/{job}")).json()
    assert ended["job"]["status"] == "partial"
    assert ended["job"]["completedAt"] >= ended["job"]["startedAt"] > ended["job"]["requestedAt"]
    assert ended["children"][2]["attempts"] == 2


async def test_the_envelope_of_a_completed_child_is_the_capture_under_its_job(client, worker):
    """What the worker stored comes back whole, with the job in front."""
    job = await submit(client)
    fence = (await worker.claim())[0]
    await children.settle(worker.connection, [Completed(fence, CAPTURE, 200)])
    envelope = (await client.get(f"/v1/jobs/{job}.chatgpt.us")).json()
    assert envelope["job"]["status"] == "completed"
    assert envelope["job"]["warnings"] == [{"code": "characters_replaced", "message": "One was."}]
    assert [entry["responseCode"] for entry in envelope["job"]["attemptLog"]] == [200]
    found = json.loads(CAPTURE)
    del found["warnings"]
    assert {name: part for name, part in envelope.items() if name != "job"} == found


async def test_the_log_of_a_retried_child_has_every_attempt_once(client, worker):
    """One entry per try, numbered, with code, response code and times."""
    job = await submit(client)
    fence = (await worker.claim())[0]
    await children.settle(worker.connection, [Retry(fence, TIMEOUT, 0.0, 504)])
    await children.stage(worker.connection)
    (fence,) = await worker.claim()
    await children.settle(worker.connection, [Failed(fence, BROKEN, 200)])
    read = (await client.get(f"/v1/jobs/{job}.chatgpt.us")).json()["job"]
    assert (read["status"], read["attempts"]) == ("failed", 2)
    assert read["error"] == {
        "code": "BAD_RESPONSE",
        "message": "It made no sense.",
        "retryable": False,
    }
    assert [(e["number"], e["code"], e["responseCode"]) for e in read["attemptLog"]] == [
        (1, "UPSTREAM_TIMEOUT", 504),
        (2, "BAD_RESPONSE", 200),
    ]
    assert all(entry["endedAt"] >= entry["startedAt"] for entry in read["attemptLog"])


async def test_the_flat_view_is_the_text_alone(client, worker):
    """`?view=flat` of a child has six fields."""
    job = await submit(client)
    fence = (await worker.claim())[0]
    await children.settle(worker.connection, [Completed(fence, CAPTURE)])
    flat = (await client.get(f"/v1/jobs/{job}.chatgpt.us?view=flat")).json()
    assert flat == {
        "surface": "chatgpt",
        "region": "US",
        "status": "completed",
        "text": "Three shoes",
        "markdown": "**Three** shoes",
        "sources": json.loads(CAPTURE)["evidence"]["sources"],
    }


async def test_a_child_that_is_not_of_the_parent_is_not_found(client):
    """A well-formed id of a cell nobody asked for is JOB_NOT_FOUND."""
    job = await submit(client)
    for child in (f"{job}.site.us", f"{job}.chatgpt.it"):
        assert (await client.get(f"/v1/jobs/{child}")).status_code == 404


async def test_pages_of_results_hold_each_cell_once_in_order(client, worker):
    """Following nextCursor meets every cell once, in any state, and ends with null."""
    job = await submit(client)
    for _ in range(2):  # waiting for admission, then processing
        seen, query = [], "limit=3"
        while query:
            page = (await client.get(f"/v1/jobs/{job}/results?{query}")).json()
            seen += [envelope["job"]["id"] for envelope in page["results"]]
            query = page["nextCursor"] and f"limit=3&cursor={page['nextCursor']}"
        assert seen == [f"{job}.chatgpt.{country}" for country in ("us", "gb", "fr", "de")]
        await worker.claim()


async def test_flat_pages_have_the_same_cursor(client):
    """`?view=flat` changes the results, not the paging."""
    job = await submit(client)
    page = (await client.get(f"/v1/jobs/{job}/results?limit=1&view=flat")).json()
    assert page["results"] == [
        {
            "surface": "chatgpt",
            "region": "US",
            "status": "queued",
            "text": "",
            "markdown": "",
            "sources": [],
        }
    ]
    assert page["nextCursor"] is not None


@pytest.mark.parametrize("view", ["", "?view=flat"])
async def test_results_stream_as_lines(client, connection, view):
    """`Accept: application/x-ndjson` gives every cell, a line each, of more than one page."""
    third = SurfaceDescriptor(name="third", adapter="http", method="http", options_schema={})
    await surfaces.register(connection, [third])
    regions = [{"country": country, "city": f"C{n}"} for n in range(25) for country in ("US", "GB")]
    job = await submit(
        client, {"query": "a", "surfaces": ["chatgpt", "site", "third"], "regions": regions}
    )
    wide = await client.get(
        f"/v1/jobs/{job}/results{view}", headers={"Accept": "application/x-ndjson"}
    )
    assert wide.headers["Content-Type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in wide.text.splitlines()]
    assert len(lines) == 150
    assert ("job" in lines[0]) is not bool(view)


async def test_a_childs_id_has_no_results_of_its_own(client):
    """Results are a parent's; a child's is its Envelope."""
    job = await submit(client)
    assert (await client.get(f"/v1/jobs/{job}.chatgpt.us/results")).status_code == 404


async def test_ids_sort_as_they_were_made(client):
    """A later parent has a greater id."""
    made = [await submit(client) for _ in range(3)]
    assert made == sorted(made)
    assert all(ids.read(job) is not None for job in made)


async def test_metadata_comes_back_untouched(client):
    """Its keys in their order, whatever its text: nothing is trimmed, folded or normalised."""
    metadata = {"z": " a ", "A": "", "a": "e\u0301\u2028\U0001f600", "é.%": '<&>"\\\n'}
    body = {"query": "q", "surfaces": ["chatgpt"], "metadata": metadata}
    job = (await client.post("/v1/search", json=body)).json()["jobId"]
    read = (await client.get(f"/v1/jobs/{job}")).json()["job"]["metadata"]
    assert list(read.items()) == list(metadata.items())
    (listed,) = (await client.get("/v1/jobs")).json()["jobs"]
    assert list(listed["metadata"].items()) == list(metadata.items())
