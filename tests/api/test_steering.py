"""Cancel, retry and erase over HTTP, and clearing a queue."""

import asyncio

import pytest

from orchestrator.domain.envelope import Failure
from orchestrator.store import children, steering
from orchestrator.store.children import Completed, Failed, GivenBack
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

CAPTURE = (
    '{"answer": {"text": "tea"}, "evidence": {}, "provenance": {"adapter": "simulator",'
    ' "method": "simulator", "region": {"requested": "US"}, "surfacePresent": true}}'
)
BROKEN = Failure(code="BAD_RESPONSE", message="It made no sense.", retryable=False)
FREE = "SELECT id FROM parent FOR NO KEY UPDATE SKIP LOCKED"
BODY = {"query": "shoes", "surfaces": ["chatgpt"], "regions": ["US", "GB"]}


async def submit(client, **fields) -> str:
    reply = await client.post("/v1/search", json=BODY | fields)
    assert reply.status_code == 202, reply.text
    return str(reply.json()["jobId"])


async def settle(worker, *outcomes) -> None:
    await children.settle(worker.connection, outcomes)


def code(reply) -> str:
    return str(reply.json()["error"]["code"])


async def depth(client) -> int:
    return int((await client.get("/v1/async/status")).json()["admissionQueue"]["depth"])


@pytest.mark.parametrize("method", ["cancel", "delete"])
async def test_a_waiting_job_is_canceled_at_once(client, method):
    """200 with the job, all cells canceled, its place free; a repeat is the same."""
    job = await submit(client)

    async def cancel():
        if method == "delete":
            return await client.delete(f"/v1/jobs/{job}")
        return await client.post(f"/v1/jobs/{job}/cancel")

    reply = await cancel()
    assert reply.status_code == 200
    read = reply.json()
    assert read["job"]["status"] == "canceled"
    assert read["job"]["cancelRequestedAt"] == read["job"]["completedAt"]
    assert read["job"]["counts"]["canceled"] == 2
    assert {child["status"] for child in read["children"]} == {"canceled"}
    assert await depth(client) == 0
    again = await client.post(f"/v1/jobs/{job}/cancel")
    assert (again.status_code, again.json()) == (200, read)


async def test_a_running_cell_stays_processing_until_it_is_settled(client, worker):
    """Queued cells end in the cancel; running ones hold their slots, and say when it was asked."""
    job = await submit(client)
    first, second = await worker.claim()
    await settle(worker, Completed(first, CAPTURE))
    read = (await client.post(f"/v1/jobs/{job}/cancel")).json()
    assert [child["status"] for child in read["children"]] == ["completed", "processing"]
    assert read["job"]["status"] == "processing"
    envelope = (await client.get(read["children"][1]["id"].join(["/v1/jobs/", ""]))).json()
    assert envelope["job"]["cancelRequestedAt"] == read["job"]["cancelRequestedAt"]
    status = (await client.get("/v1/async/status")).json()
    assert status["processingTasks"] == 1
    await settle(worker, GivenBack(second))
    read = (await client.get(f"/v1/jobs/{job}")).json()
    assert read["job"]["status"] == "partial"
    assert [child["status"] for child in read["children"]] == ["completed", "canceled"]
    assert (await client.post(f"/v1/jobs/{job}/cancel")).status_code == 200


async def test_a_child_is_canceled_by_its_id(client, worker):
    """200 with its Envelope; its parent and siblings go on."""
    job = await submit(client)
    reply = await client.post(f"/v1/jobs/{job}.chatgpt.gb/cancel")
    assert reply.status_code == 200
    assert reply.json()["job"]["status"] == "canceled"
    assert reply.json()["job"]["cancelRequestedAt"] is not None
    (only,) = await worker.claim()
    assert only.ordinal == 1
    read = (await client.get(f"/v1/jobs/{job}")).json()
    assert read["job"]["counts"]["canceled"] == 1
    assert read["job"]["cancelRequestedAt"] is None


async def test_what_ended_by_itself_is_not_cancelable(client, worker):
    """409 for the parent and for its child, by POST; DELETE of the child too."""
    job = await submit(client, regions=["US"])
    (only,) = await worker.claim()
    await settle(worker, Completed(only, CAPTURE))
    for reply in (
        await client.post(f"/v1/jobs/{job}/cancel"),
        await client.post(f"/v1/jobs/{job}.chatgpt.us/cancel"),
        await client.delete(f"/v1/jobs/{job}.chatgpt.us"),
    ):
        assert (reply.status_code, code(reply)) == (409, "NOT_CANCELABLE")


async def test_an_ended_parent_is_erased_and_its_idempotency_key_is_free(client, worker):
    """204, then nothing is found of it, and the same submission makes a new job."""
    job = await submit(client, idempotencyKey="k")
    for fence in await worker.claim():
        await settle(worker, Completed(fence, CAPTURE))
    reply = await client.delete(f"/v1/jobs/{job}")
    assert (reply.status_code, reply.content) == (204, b"")
    for path in (job, f"{job}.chatgpt.us", f"{job}/results"):
        gone = await client.get(f"/v1/jobs/{path}")
        assert (gone.status_code, code(gone)) == (404, "JOB_NOT_FOUND")
    assert (await client.delete(f"/v1/jobs/{job}")).status_code == 404
    assert await submit(client, idempotencyKey="k") != job


async def test_what_is_removed_cannot_end_between_the_look_and_the_cancel(
    client, connection, monkeypatch
):
    """Nobody gets at the parent between them: it is erased or canceled, never refused."""
    job = await submit(client)
    free = []
    cancel = steering.cancel

    async def looked(*args, **named):
        free.append(await (await connection.execute(FREE)).fetchall())
        return await cancel(*args, **named)

    monkeypatch.setattr(steering, "cancel", looked)
    assert (await client.delete(f"/v1/jobs/{job}")).status_code == 200
    assert free == [[]]


async def test_a_retry_starts_the_next_run_of_what_found_no_answer(client, worker):
    """202 with the job: run 2, those cells queued afresh, the completed one kept."""
    job = await submit(client)
    first, second = await worker.claim()
    await settle(worker, Completed(first, CAPTURE), Failed(second, BROKEN))
    reply = await client.post(f"/v1/jobs/{job}/retry")
    assert reply.status_code == 202
    assert reply.headers["location"] == f"/v1/jobs/{job}"
    read = reply.json()
    assert (read["job"]["status"], read["job"]["run"]) == ("queued", 2)
    assert (read["job"]["counts"]["waiting"], read["job"]["counts"]["completed"]) == (1, 1)
    assert (read["job"]["completedAt"], read["job"]["startedAt"]) == (None, None)
    again = read["children"][1]
    assert (again["status"], again["attempts"], again["error"]) == ("queued", 0, None)
    assert again["waiting"] == {"reason": "admission", "until": None}
    (fence,) = await worker.claim()
    assert fence.ordinal == 2
    await settle(worker, Completed(fence, CAPTURE))
    read = (await client.get(f"/v1/jobs/{job}")).json()
    assert read["job"]["status"] == "completed"
    envelope = (await client.get(f"/v1/jobs/{job}.chatgpt.gb")).json()
    assert (envelope["job"]["run"], len(envelope["job"]["attemptLog"])) == (2, 1)


async def test_a_retry_takes_a_place_or_is_refused(registered, issue, opened, worker):
    """429 like any admission, and nothing has changed."""
    async with opened((await issue(queue_capacity=1)).secret) as client:
        job = await submit(client, regions=["US"])
        (only,) = await worker.claim()
        await settle(worker, Failed(only, BROKEN))
        await submit(client)
        refused = await client.post(f"/v1/jobs/{job}/retry")
        assert (refused.status_code, code(refused)) == (429, "QUEUE_CAPACITY_EXCEEDED")
        assert refused.json()["error"]["details"]["watch"] == "admissionQueue"
        assert int(refused.headers["retry-after"]) >= 1
        read = (await client.get(f"/v1/jobs/{job}")).json()["job"]
        assert (read["status"], read["run"]) == ("failed", 1)


async def test_nothing_to_retry_is_a_409(client, worker):
    """A job that has not ended, a completed one, and ends that no cell has."""
    job = await submit(client, regions=["US"])
    (only,) = await worker.claim()
    running = await client.post(f"/v1/jobs/{job}/retry")
    assert (running.status_code, code(running)) == (409, "NOT_RETRYABLE")
    await settle(worker, Failed(only, BROKEN))
    other = await client.post(f"/v1/jobs/{job}/retry", json={"statuses": ["expired"]})
    assert (other.status_code, code(other)) == (409, "NOT_RETRYABLE")
    assert (await client.post(f"/v1/jobs/{job}.chatgpt.us/retry")).status_code == 202
    (only,) = await worker.claim()
    await settle(worker, Completed(only, CAPTURE))
    ended = await client.post(f"/v1/jobs/{job}/retry")
    assert (ended.status_code, code(ended)) == (409, "NOT_RETRYABLE")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"statuses": ["completed"]}', "statuses[0]"),
        (b'{"statuses": []}', "statuses"),
        (b'{"statuses": ["failed", "failed"]}', "statuses"),
        (b'{"status": "failed"}', "status"),
        (b"[]", ""),
        (b"{", ""),
    ],
)
async def test_a_retry_says_what_it_takes(client, body, path):
    """400 with the path of the fault."""
    job = await submit(client)
    for what in (f"jobs/{job}", "groups/x"):
        reply = await client.post(
            f"/v1/{what}/retry", content=body, headers={"content-type": "application/json"}
        )
        assert (reply.status_code, code(reply)) == (400, "VALIDATION_FAILED")
        assert reply.json()["error"]["details"][0]["path"] == path


async def test_a_retry_says_all_that_is_wrong_with_it_at_once(client):
    """Beside the body as in it."""
    job = await submit(client)
    for what in (f"jobs/{job}", "groups/x"):
        reply = await client.post(f"/v1/{what}/retry?force=1", json={"statuses": []})
        faults = [fault["path"] for fault in reply.json()["error"]["details"]]
        assert faults == ["?force", "statuses"]


async def test_writes_refuse_query_parameters_they_do_not_take(client):
    """Each of them."""
    job = await submit(client)
    for method, path in (
        ("POST", f"/v1/jobs/{job}/cancel"),
        ("POST", f"/v1/jobs/{job}/retry"),
        ("DELETE", f"/v1/jobs/{job}"),
        ("DELETE", "/v1/async/queue"),
        ("POST", "/v1/groups/g/cancel"),
        ("POST", "/v1/groups/g/retry"),
    ):
        reply = await client.request(method, path, params={"force": "1"})
        assert (reply.status_code, code(reply)) == (400, "VALIDATION_FAILED"), path
        assert reply.json()["error"]["details"][0]["path"] == "?force"
    assert (await client.get(f"/v1/jobs/{job}")).json()["job"]["status"] == "queued"


async def test_a_queue_is_cleared_of_what_has_not_started(client, worker):
    """The answer counts them; a job with a cell that started goes on."""
    started = await submit(client)
    await worker.claim(slots=1)
    jobs = [await submit(client) for _ in range(3)]
    reply = await client.delete("/v1/async/queue")
    assert (reply.status_code, reply.json()) == (200, {"success": True, "cleared": 3})
    for job in jobs:
        assert (await client.get(f"/v1/jobs/{job}")).json()["job"]["status"] == "canceled"
    assert (await client.get(f"/v1/jobs/{started}")).json()["job"]["status"] == "processing"
    assert (await client.delete("/v1/async/queue")).json()["cleared"] == 0


async def test_a_sync_caller_is_answered_when_its_job_is_canceled(client, worker):
    """200 with the canceled Envelope: the job has ended."""
    body = {"prompt": "shoes", "country": "US", "idempotencyKey": "k"}
    asking = asyncio.create_task(client.post("/v1/search/chatgpt", json=body))
    fences = await eventually(worker.claim)
    async with asyncio.timeout(30):
        job = (await client.post("/v1/search/chatgpt?mode=async", json=body)).json()["jobId"]
        assert (await client.post(f"/v1/jobs/{job}/cancel")).status_code == 200
        await settle(worker, *map(GivenBack, fences))
        reply = await asking
    assert (reply.status_code, reply.json()["job"]["status"]) == (200, "canceled")


async def test_a_position_is_the_place_among_the_keys_own(client, worker, connection):
    """By priority, then age; the start is told from the rate they leave at, when there is one."""
    jobs = {priority: await submit(client, priority=priority) for priority in (5, 3, 9, 5)}
    fourth = jobs.pop(5)

    async def position(job):
        read = (await client.get(f"/v1/jobs/{job}")).json()["job"]
        return read["position"], read["positionEstimated"], read["estimatedStartAt"]

    assert await position(jobs[9]) == (1, False, None)
    assert await position(fourth) == (3, False, None)
    assert await position(jobs[3]) == (4, False, None)
    delayed = await submit(client, delay=60)
    read = (await client.get(f"/v1/jobs/{delayed}")).json()
    assert (read["job"]["status"], read["job"]["position"]) == ("queued", None)
    (reason,) = {child["waiting"]["reason"] for child in read["children"]}
    (until,) = {child["waiting"]["until"] for child in read["children"]}
    assert (reason, until) == ("delay", read["job"]["estimatedStartAt"])
    await connection.execute(
        "UPDATE usage SET drained = 30, drained_at = extract(epoch FROM now()),"
        " drained_from = extract(epoch FROM now()) - 100"
    )
    assert (await position(jobs[3]))[2] is not None
    await worker.claim()
    assert (await position(jobs[9])) == (None, None, None)


SPENT = """
INSERT INTO lane_pace (lane_id, tokens, filled_at) SELECT id, 0, extract(epoch FROM now()) FROM lane
"""


async def reasons(client, job):
    read = (await client.get(f"/v1/jobs/{job}")).json()
    envelopes = [
        (await client.get(f"/v1/jobs/{child['id']}")).json()["job"] for child in read["children"]
    ]
    assert [e["waiting"] for e in envelopes] == [child["waiting"] for child in read["children"]]
    return [child["waiting"] and child["waiting"]["reason"] for child in read["children"]]


async def test_why_a_ready_cell_waits_is_said(client, worker, connection):
    """A slot, a full lane or key, a rate, a breaker, a pause, no worker: what is true now."""
    job = await submit(client)
    (first,) = await worker.claim(slots=1)
    assert first.ordinal == 1
    assert await reasons(client, job) == [None, None]
    await connection.execute("UPDATE lane SET concurrency = 0 WHERE country = 'GB'")
    assert await reasons(client, job) == [None, "lane_full"]
    await connection.execute("UPDATE lane SET concurrency = 9")
    await connection.execute("UPDATE api_key SET concurrency = 1")
    assert await reasons(client, job) == [None, "key_concurrency"]
    await connection.execute("UPDATE lane SET not_before = now() + interval '1 minute'")
    assert await reasons(client, job) == [None, "lane_rate"]
    await connection.execute("UPDATE lane SET not_before = NULL, rate = 0.001")
    await connection.execute(SPENT)
    read = (await client.get(f"/v1/jobs/{job}")).json()
    assert read["children"][1]["waiting"]["reason"] == "lane_rate"
    await connection.execute("UPDATE lane SET open_until = now() + interval '1 minute'")
    assert await reasons(client, job) == [None, "breaker_open"]
    await connection.execute("UPDATE lane SET paused_at = now()")
    assert await reasons(client, job) == [None, "lane_paused"]
    await connection.execute("DELETE FROM node WHERE kind = 'worker'")
    assert await reasons(client, job) == [None, "no_worker"]


async def test_what_holds_a_job_in_the_queue_is_said_of_the_cells_it_holds(
    client, worker, connection
):
    """Of those of a paused or cut off lane, or one nobody serves; the others wait for the job."""
    job = await submit(client, group="held")
    assert await reasons(client, job) == ["admission", "admission"]
    await connection.execute(
        "UPDATE lane SET open_until = now() + interval '1 minute' WHERE country = 'GB'"
    )
    assert await reasons(client, job) == ["admission", "breaker_open"]
    found = (await client.get("/v1/groups/held/results")).json()["results"]
    assert [each["job"]["waiting"]["reason"] for each in found] == ["admission", "breaker_open"]
    await connection.execute("UPDATE lane SET paused_at = now() WHERE country = 'US'")
    assert await reasons(client, job) == ["lane_paused", "breaker_open"]
    await connection.execute("DELETE FROM node WHERE kind = 'worker'")
    assert await reasons(client, job) == ["no_worker", "no_worker"]
    delayed = await submit(client, delay=60)
    assert await reasons(client, delayed) == ["delay", "delay"]


async def test_a_cleared_queue_keeps_its_reservations(client):
    """They are places for what is still to come."""
    asked = {"jobs": 4, "surfaces": ["chatgpt"], "reserveSeconds": 60}
    assert (await client.post("/v1/async/preflight", json=asked)).json()["reservation"]
    await submit(client)
    assert (await client.delete("/v1/async/queue")).json()["cleared"] == 1
    queue = (await client.get("/v1/async/status")).json()["admissionQueue"]
    assert (queue["depth"], queue["waiting"], queue["reserved"]) == (4, 0, 4)


async def test_a_cancel_is_of_its_run(client, worker):
    """What was canceled, ran again and ended by itself was not canceled."""
    job = await submit(client, regions=["US"])
    await client.post(f"/v1/jobs/{job}/cancel")
    read = (await client.post(f"/v1/jobs/{job}/retry")).json()
    assert (read["job"]["run"], read["job"]["cancelRequestedAt"]) == (2, None)
    (only,) = await worker.claim()
    await settle(worker, Completed(only, CAPTURE))
    read = (await client.get(f"/v1/jobs/{job}")).json()
    assert (read["job"]["status"], read["job"]["cancelRequestedAt"]) == ("completed", None)
    reply = await client.post(f"/v1/jobs/{job}/cancel")
    assert (reply.status_code, code(reply)) == (409, "NOT_CANCELABLE")
