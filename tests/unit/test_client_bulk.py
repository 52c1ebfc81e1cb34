"""Many jobs at once and streams, against a transport of the test's own."""

import httpx
import msgspec
import pytest

from orchestrator.client import ApiError, Client
from tests.unit.test_client import JOB, client, refusal, replaying

pytestmark = pytest.mark.anyio

CHILD = {
    "id": "job_1.a.us",
    "surface": "a",
    "region": "US",
    "status": "completed",
    "attempts": 1,
    "waiting": None,
    "error": None,
    "completedAt": None,
}
FULL = {"code": "QUEUE_CAPACITY_EXCEEDED", "message": "full", "status": 429}
WRONG = {
    "code": "VALIDATION_FAILED",
    "message": "1 fault",
    "status": 400,
    "details": [{"path": "query", "message": "Missing."}],
}


def told(*errors, **headers):
    """The answer to a batch: what became of each item, a job where there is no error."""
    items = [
        {
            "index": index,
            "status": "rejected" if error else "accepted",
            "job": None if error else {"id": "job_1", "status": "queued", "children": None},
            "error": error,
        }
        for index, error in enumerate(errors)
    ]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(200, json={"items": items}, headers=named)


def sent(request):
    return msgspec.json.decode(request.content)["items"]


def keys(request):
    return [item["idempotencyKey"] for item in sent(request)]


async def outcomes(asking, items, **fields):
    """What became of each: its index, and the code of its error."""
    async with asking:
        found = asking.submit_all(items, key="k", **fields)
        return [(one.index, one.error and one.error.code) async for one in found]


async def test_a_batch_says_what_became_of_each():
    """A job or an error each, in order; an error is what it would be for a submission alone."""
    asking, made = replaying(told(None, WRONG, FULL | {"details": {"retryAfterSeconds": 3}}))
    async with asking:
        first, second, third = await asking.submit_batch(
            [{"query": "a"}, {}, {}], idempotency_key="k", reservation="res_1"
        )
    assert (first.index, first.job.id, first.error) == (0, "job_1", None)
    assert (second.index, second.job, second.error.status) == (1, None, 400)
    assert [fault.path for fault in second.error.faults] == ["query"]
    assert (third.error.code, third.error.retry_after) == ("QUEUE_CAPACITY_EXCEEDED", 3)
    (request,) = made
    assert sent(request) == [{"query": "a"}, {}, {}]
    assert (request.headers["Idempotency-Key"], request.headers["X-Reservation"]) == ("k", "res_1")
    assert request.url.query == b""


async def test_what_finds_no_room_is_sent_again_with_all_behind_it():
    """In order and under the same keys; what was decided before is not sent again."""
    asking, made = replaying(
        told(None, WRONG, FULL, FULL, Retry_After="0"),
        told(FULL, FULL, Retry_After="0"),
        told(None, None),
        told(None),
    )
    items = [{"query": f"{n}"} for n in range(5)]
    assert await outcomes(asking, items, batch=4, group="g") == [
        (0, None),
        (1, "VALIDATION_FAILED"),
        (2, None),
        (3, None),
        (4, None),
    ]
    assert [keys(request) for request in made] == [
        ["k#0", "k#1", "k#2", "k#3"],
        ["k#2", "k#3"],
        ["k#2", "k#3"],
        ["k#4"],
    ]
    assert sent(made[0])[0] == {"query": "0", "group": "g", "idempotencyKey": "k#0"}


async def test_what_an_item_says_itself_stands():
    """Its own key and its own group."""
    asking, made = replaying(told(None))
    await outcomes(asking, [{"idempotencyKey": "mine", "group": "h"}], group="g")
    assert sent(made[0]) == [{"idempotencyKey": "mine", "group": "h"}]


async def test_the_key_of_an_item_is_the_same_whatever_its_batch():
    """So a run may be resumed with batches of another size."""
    first, made = replaying(told(None, None), told(None))
    again, remade = replaying(told(None), told(None), told(None))
    await outcomes(first, [{}] * 3, batch=2)
    await outcomes(again, [{}] * 3, batch=1)
    for requests in (made, remade):
        assert [key for request in requests for key in keys(request)] == ["k#0", "k#1", "k#2"]


async def test_a_busy_server_is_asked_again_and_all_is_the_same():
    """The rate's refusal, 503 and a proxy's page cost time; the same batch is sent again."""
    busy = [
        refusal(429, code="RATE_LIMIT_EXCEEDED", message="x", details={"retryAfterSeconds": 0}),
        refusal(503, code="SERVICE_UNAVAILABLE", message="x", details={"retryAfterSeconds": 0}),
        httpx.Response(502, text="<html>", headers={"Retry-After": "0"}),
    ]
    asking, made = replaying(*busy, told(None, None))
    assert await outcomes(asking, [{}, {}]) == [(0, None), (1, None)]
    assert len({request.content for request in made}) == 1


async def test_a_request_that_is_refused_for_good_is_an_error():
    """At once, and nothing more is sent."""
    asking, made = replaying(refusal(401, code="MISSING_API_KEY", message="x"))
    with pytest.raises(ApiError, match="MISSING_API_KEY"):
        await outcomes(asking, [{}] * 3, batch=1)
    assert len(made) == 1


async def test_a_server_that_does_not_come_back_is_given_up():
    """When the patience is over."""

    def refuse(request):
        raise httpx.ConnectError("refused")

    with pytest.raises(ApiError, match="No Parallax server"):
        await outcomes(client(refuse), [{}], patience=0)


async def test_an_answer_for_other_items_is_not_understood():
    """A reply that does not speak of each item is no reply to this batch."""
    asking, _ = replaying(told(None))
    with pytest.raises(ApiError) as caught:
        await outcomes(asking, [{}, {}])
    assert caught.value.code == "REPLY_NOT_UNDERSTOOD"


async def test_items_are_taken_as_they_are_sent():
    """Of any number, one batch and the item after it are held."""
    drawn = []

    def items():
        for number in range(10):
            drawn.append(number)
            yield {"query": f"{number}"}

    def answer(request):
        return told(*(None for _ in sent(request)))

    async with client(answer) as asking:
        ahead = [
            len(drawn) - one.index
            async for one in asking.submit_all(items(), key="k", batch=3)
            if one.index % 3 == 0
        ]
    assert len(drawn) == 10
    assert max(ahead) == 4


async def test_a_batch_is_no_larger_than_a_server_reads():
    """16 MiB with its frame, however many items that is."""
    asking, made = replaying(told(*[None] * 15), told(*[None] * 5))
    await outcomes(asking, [{"query": "x" * 1024 * 1024}] * 20)
    assert [len(sent(request)) for request in made] == [15, 5]
    assert max(len(request.content) for request in made) <= 16 * 1024 * 1024


async def test_what_is_no_json_is_refused_before_it_is_sent():
    """A number that JSON has not is the caller's mistake, not the batch's."""
    asking, made = replaying()
    with pytest.raises(ValueError, match="JSON"):
        await outcomes(asking, [{"delay": float("nan")}])
    assert made == []


def event(name, id_, data):
    return f"event: {name}\nid: {id_}\ndata: {msgspec.json.encode(data).decode()}\n\n"


def ended(status="completed"):
    return event("parent", "z", JOB | {"status": status})


async def heard(asking: Client):
    async with asking:
        return [one.id async for one in asking.events("job_1")]


async def test_events_end_with_the_job():
    """Children and the parent as records; kinds nobody knows yet are passed by."""
    body = event("child", "a", CHILD) + event("later", "b", {}) + ": still here\n\n" + ended()
    asking, made = replaying(httpx.Response(200, text=body))
    assert await heard(asking) == ["job_1.a.us", "job_1"]
    assert made[0].url.path == "/v1/jobs/job_1/events"
    assert "Last-Event-ID" not in made[0].headers


async def test_a_stream_that_is_refused_for_now_is_asked_for_again():
    """It goes on behind the last event that came whole; 204 says that nothing is left to tell."""
    crowded = refusal(503, code="SERVICE_UNAVAILABLE", message="x", details=None)
    crowded.headers["Retry-After"] = "0"
    asking, made = replaying(
        crowded,
        httpx.Response(200, text=event("child", "a", CHILD) + ended("processing") + "event: child"),
        httpx.Response(204),
    )
    assert await heard(asking) == ["job_1.a.us", "job_1"]
    assert [request.headers.get("Last-Event-ID") for request in made] == [None, None, "z"]


async def test_the_events_of_no_job_are_an_error():
    """At once."""
    asking, _ = replaying(refusal(404, code="JOB_NOT_FOUND", message="no such job"))
    with pytest.raises(ApiError, match="JOB_NOT_FOUND"):
        await heard(asking)


async def test_the_results_of_a_group_that_are_cut_off_are_an_error():
    """They cannot go on: who wants them begins anew."""

    class Cut(httpx.AsyncByteStream):
        async def __aiter__(self):
            yield b""
            raise httpx.ReadError("connection reset")

    asking, made = replaying(httpx.Response(200, stream=Cut()))
    async with asking:
        with pytest.raises(ApiError) as caught:
            _ = [one async for one in asking.group_results("g")]
    assert caught.value.code == "SERVER_UNREACHABLE"
    assert made[0].headers["Accept"] == "application/x-ndjson"
