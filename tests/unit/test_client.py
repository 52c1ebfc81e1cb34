"""The client against a transport of the test's own."""

import httpx
import msgspec
import pytest

from orchestrator.client import ApiError, Client, pace
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


async def test_an_id_cannot_lead_to_another_address():
    """Whatever is given as an id stays one part of the path."""
    asking, made = replaying(refusal(404, code="JOB_NOT_FOUND", message="no such job"))
    async with asking:
        with pytest.raises(ParallaxError):
            await asking.job("../key?x=1")
    assert made[0].url.raw_path == b"/v1/jobs/..%2Fkey%3Fx%3D1"


def test_the_pace_slows_down_while_nothing_moves():
    """At most four looks a second while things move, one in two seconds when they do not."""
    seconds = [pace.pause(0.0, changed=True)]
    for _ in range(8):
        seconds.append(pace.pause(seconds[-1], changed=False))
    assert seconds[0] == pace.SHORTEST
    assert seconds == sorted(seconds)
    assert seconds[-1] == pace.LONGEST
