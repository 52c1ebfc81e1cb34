"""The client against a transport of the test's own."""

from datetime import datetime, timedelta, timezone

import httpx
import msgspec
import pytest

from orchestrator.client import ApiError, Client, pace
from orchestrator.client.lines import Events, Lines
from orchestrator.errors import ConfigError, ParallaxError

pytestmark = pytest.mark.anyio

JOB = {
    "id": "job_1",
    "query": "q",
    "status": "processing",
    "run": 1,
    "priority": 5,
    "surfaces": ["a"],
    "regions": [{"country": "US"}],
    "group": None,
    "counts": {"processing": 1},
    "position": None,
    "positionEstimated": None,
    "estimatedStartAt": None,
    "requestedAt": "2026-01-01T00:00:00.000Z",
    "startedAt": None,
    "completedAt": None,
    "cancelRequestedAt": None,
    "deadlineAt": None,
    "metadata": {},
    "credits": {"estimated": None, "charged": None},
    "aFieldOfLaterVersions": True,
}


def refusal(status: int, **error):
    return httpx.Response(status, json={"error": error}, headers={"Retry-After": "7"})


def client(handler) -> Client:
    return Client(url="http://test", key="sk", transport=httpx.MockTransport(handler))


def replaying(*replies: httpx.Response):
    """A client that is given these replies in turn, and the requests it has made."""
    waiting, made = list(replies), []

    def handler(request: httpx.Request) -> httpx.Response:
        made.append(request)
        return waiting.pop(0)

    return client(handler), made


async def test_a_submission_leaves_out_what_was_not_said():
    """The server's defaults stay the server's: only what the caller named is sent."""
    accepted = {"jobId": "job_1", "status": "queued", "children": ["job_1.a.us"], "warnings": []}
    asking, made = replaying(httpx.Response(202, json=accepted))
    async with asking:
        reply = await asking.submit("q", surfaces=["a"])
    assert reply.job_id == "job_1"
    assert msgspec.json.decode(made[0].content) == {"query": "q", "surfaces": ["a"]}
    assert made[0].headers["Authorization"] == "Bearer sk"


async def test_a_submission_says_all_it_is_told_to():
    """Each field under its name, the reservation in its header."""
    accepted = {"jobId": "job_1", "status": "queued", "children": [], "warnings": []}
    asking, made = replaying(httpx.Response(202, json=accepted))
    async with asking:
        await asking.submit(
            "q",
            surfaces=["a"],
            regions=["US", {"country": "GB"}],
            priority=1,
            delay=0,
            deadline=9.5,
            max_attempts=2,
            finish_at_least=1,
            webhook="https://example.com/",
            group="g",
            max_credits=0,
            options={"a": {"b": 1}},
            metadata={"k": "v"},
            idempotency_key="i",
            reservation="res_1",
        )
    assert msgspec.json.decode(made[0].content) == {
        "query": "q",
        "surfaces": ["a"],
        "regions": ["US", {"country": "GB"}],
        "priority": 1,
        "delay": 0,
        "deadline": 9.5,
        "maxAttempts": 2,
        "finish": {"atLeast": 1},
        "webhook": {"url": "https://example.com/"},
        "group": "g",
        "maxCredits": 0,
        "options": {"a": {"b": 1}},
        "metadata": {"k": "v"},
        "idempotencyKey": "i",
    }
    assert made[0].headers["X-Reservation"] == "res_1"


async def test_a_refusal_carries_what_a_caller_can_act_on():
    """Code, status, message, details and the seconds to wait arrive as one exception."""
    details = {"limit": 1, "retryAfterSeconds": 3}
    asking, _ = replaying(
        refusal(429, code="QUEUE_CAPACITY_EXCEEDED", message="full", details=details)
    )
    async with asking:
        with pytest.raises(ApiError) as caught:
            await asking.submit("q", surfaces=["a"])
    error = caught.value
    assert (error.code, error.status, error.message) == ("QUEUE_CAPACITY_EXCEEDED", 429, "full")
    assert error.retry_after == 3
    assert msgspec.json.decode(error.details) == details


async def test_a_request_that_is_not_valid_says_where():
    """All faults of a request are in the one exception, and in what it prints."""
    faults = [{"path": "query", "message": "Too long."}, {"path": "x", "message": "Unknown."}]
    asking, _ = replaying(
        refusal(400, code="VALIDATION_FAILED", message="2 faults", details=faults)
    )
    async with asking:
        with pytest.raises(ApiError, match=r"query: Too long\.; x: Unknown\.") as caught:
            await asking.submit("q", surfaces=["a"])
    assert [fault.path for fault in caught.value.faults] == ["query", "x"]


async def test_without_details_the_header_says_when_to_come_back():
    """`Retry-After` counts when the body does not name a time, as for a list of faults."""
    asking, _ = replaying(refusal(503, code="SERVICE_UNAVAILABLE", message="away", details=[]))
    async with asking:
        with pytest.raises(ApiError) as caught:
            await asking.status()
    assert caught.value.retry_after == 7


@pytest.mark.parametrize("status", [200, 302, 404, 502])
async def test_a_reply_of_something_else_is_told_as_such(status):
    """A page of a proxy or of another server is one clear error, whatever its status."""
    asking, _ = replaying(httpx.Response(status, text="<html>hello</html>"))
    async with asking:
        with pytest.raises(ApiError, match="not one of a Parallax server") as caught:
            await asking.health()
    assert caught.value.code == "REPLY_NOT_UNDERSTOOD"


async def test_no_server_is_one_clear_error():
    """A refused connection names the address and says what to do."""

    def refuse(request):
        raise httpx.ConnectError("refused")

    async with client(refuse) as asking:
        with pytest.raises(ApiError, match="No Parallax server answers at http://test") as caught:
            await asking.health()
    assert caught.value.code == "SERVER_UNREACHABLE"
    assert caught.value.status is None


async def test_an_address_that_is_none_is_a_matter_of_configuration():
    """A URL without a scheme is refused with the variable's name."""
    async with Client(url="localhost") as asking:
        with pytest.raises(ConfigError, match="PARALLAX_URL"):
            await asking.health()


async def test_watching_yields_changes_and_ends_with_the_job():
    """Equal reads are not yielded twice, a busy server is waited for, and the end is the last."""
    done = JOB | {"status": "completed", "counts": {"completed": 1}}
    busy = refusal(503, code="SERVICE_UNAVAILABLE", message="away")
    busy.headers["Retry-After"] = "0"
    asking, made = replaying(
        httpx.Response(200, json={"job": JOB, "children": []}),
        busy,
        httpx.Response(200, json={"job": JOB, "children": []}),
        httpx.Response(200, json={"job": done, "children": []}),
    )
    async with asking:
        seen = [read.job.status async for read in asking.watch("job_1")]
    assert seen == ["processing", "completed"]
    assert len(made) == 4


async def test_watching_a_job_that_is_not_there_fails():
    """Only a busy server is waited for: an unknown job is an error at once."""
    asking, _ = replaying(refusal(404, code="JOB_NOT_FOUND", message="no such job"))
    async with asking:
        with pytest.raises(ApiError, match="JOB_NOT_FOUND"):
            await asking.wait("job_1")


async def test_results_come_page_by_page_in_order():
    """Pages are asked for with the cursor of the one before, until there is none."""
    asking, made = replaying(
        httpx.Response(200, json={"results": [1, 2], "nextCursor": "c/1"}),
        httpx.Response(200, json={"results": [3], "nextCursor": None}),
    )
    async with asking:
        found = [msgspec.json.decode(raw) async for raw in asking.raw_results("job_1")]
    assert found == [1, 2, 3]
    assert [request.url.params.get("cursor") for request in made] == [None, "c/1"]


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (lambda asking: asking.job("../key?x=1"), b"/v1/jobs/..%2Fkey%3Fx%3D1"),
        (lambda asking: asking.cancel("a/b"), b"/v1/jobs/a%2Fb/cancel"),
        (lambda asking: asking.group("../x"), b"/v1/groups/..%2Fx"),
        (lambda asking: asking.retry_group("a?b"), b"/v1/groups/a%3Fb/retry"),
        (lambda asking: asking.release("../queue"), b"/v1/async/reservations/..%2Fqueue"),
        (lambda asking: asking.replay("a/b"), b"/v1/webhooks/deliveries/a%2Fb/replay"),
        (lambda asking: asking.revoke_webhook_secret("../x"), b"/v1/webhooks/secrets/..%2Fx"),
    ],
)
async def test_an_id_cannot_lead_to_another_address(call, path):
    """Whatever is given as an id stays one part of the path."""
    asking, made = replaying(refusal(404, code="JOB_NOT_FOUND", message="no such job"))
    async with asking:
        with pytest.raises(ParallaxError):
            await call(asking)
    assert made[0].url.raw_path == path


async def test_jobs_come_page_by_page_with_their_filters():
    """Each filter under its name in every request, with the cursor of the page before."""
    asking, made = replaying(
        httpx.Response(200, json={"jobs": [JOB], "nextCursor": "c"}),
        httpx.Response(200, json={"jobs": [], "nextCursor": None}),
    )
    noon = datetime(2026, 1, 5, 12, tzinfo=timezone(timedelta(hours=1)))
    async with asking:
        found = asking.jobs(
            status="queued",
            surface="a",
            region="US",
            group="g",
            metadata={"k": "v"},
            created_after=noon,
            created_before=noon,
        )
        assert [job.id async for job in found] == ["job_1"]
    first, second = (dict(request.url.params) for request in made)
    assert first == {
        "status": "queued",
        "surface": "a",
        "region": "US",
        "group": "g",
        "metadata.k": "v",
        "createdAfter": "2026-01-05T12:00:00+01:00",
        "createdBefore": "2026-01-05T12:00:00+01:00",
        "limit": "100",
    }
    assert second == first | {"cursor": "c"}


async def test_deliveries_come_page_by_page_with_their_filters():
    """Each filter under its name in every request, with the cursor of the page before."""
    asking, made = replaying(
        httpx.Response(200, json={"deliveries": [], "nextCursor": "c"}),
        httpx.Response(200, json={"deliveries": [], "nextCursor": None}),
    )
    noon = datetime(2026, 1, 5, 12, tzinfo=timezone(timedelta(hours=1)))
    async with asking:
        found = asking.deliveries(status="dead", created_after=noon, created_before=noon)
        assert [one async for one in found] == []
    first, second = (dict(request.url.params) for request in made)
    assert first == {
        "status": "dead",
        "createdAfter": "2026-01-05T12:00:00+01:00",
        "createdBefore": "2026-01-05T12:00:00+01:00",
        "limit": "100",
    }
    assert second == first | {"cursor": "c"}


def test_the_pace_slows_down_while_nothing_moves():
    """At most four looks a second while things move, one in two seconds when they do not."""
    seconds = [pace.pause(0.0, changed=True)]
    for _ in range(8):
        seconds.append(pace.pause(seconds[-1], changed=False))
    assert seconds[0] == pace.SHORTEST
    assert seconds == sorted(seconds)
    assert seconds[-1] == pace.LONGEST


def test_a_server_that_is_away_is_waited_for_so_long():
    """No reply, a proxy's 502 and 504, and 503 are waited for until the time is over."""
    patient = pace.Patience(10, now=0)
    for status in (None, 502, 503, 504):
        assert patient.rest(ApiError("X", "x", status=status), now=9) == pace.AGAIN
    named = ApiError("X", "x", status=503, retry_after=4)
    assert patient.rest(named, now=6) == 4
    with pytest.raises(ApiError, match="x"):
        patient.rest(named, now=7)
    patient.heard(now=7)
    assert patient.rest(named, now=13) == 4


def test_a_server_that_is_busy_is_waited_for_as_it_says():
    """429 is a word of the server: it may come for as long as it likes."""
    patient = pace.Patience(10, now=0)
    busy = ApiError("X", "x", status=429, retry_after=60)
    assert [patient.rest(busy, now=now) for now in (0, 60, 1000)] == [60, 60, 60]


@pytest.mark.parametrize("status", [400, 401, 404, 409, 500])
def test_what_no_patience_mends_is_raised(status):
    """At once, whatever it says of coming back."""
    with pytest.raises(ApiError):
        pace.Patience(10, now=0).rest(ApiError("X", "x", status=status, retry_after=1), now=0)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_lines_are_whole_however_they_come(size):
    """In parts of any size; only a line feed ends one, not the other breaks of Unicode."""
    texts = ['{"a": "\u2028\x85\x0b"}', "", "x" * 50, "\r"]
    body, lines = "\n".join([*texts, "cut off"]).encode(), Lines()
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    assert [line.decode() for part in parts for line in lines.feed(part)] == texts


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_events_are_whole_however_they_come(size):
    """Comments are none, nor is one that was cut off; one space after a colon is not of a value."""
    body = (
        b": still here\n\nevent: child\nid: a\ndata: {}\n\n: still here\n\n"
        b"event:parent\nid:b\ndata:  1:2\n\nevent: parent\nid: c\ndata: {}\n"
    )
    events = Events()
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    assert [event for part in parts for event in events.feed(part)] == [
        ("child", "a", b"{}"),
        ("parent", "b", b" 1:2"),
    ]
