"""Lanes over HTTP: what everybody reads of them, and what operators have them do."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from admission import keys
from orchestrator.operating import MOST_AT_ONCE
from orchestrator.store import children, lanes, surfaces
from orchestrator.store.children import Completed
from orchestrator.store.lanes import Place
from orchestrator.surfaces import RegionLimits
from tests import factories
from tests.api.conftest import CHATGPT, SITE
from tests.api.test_operators import of, samples

pytestmark = pytest.mark.anyio

US = "/v1/lanes/chatgpt/US"
BODY = {"query": "shoes", "surfaces": ["chatgpt"], "regions": ["US", "GB"]}
FREE = {
    "surface": "chatgpt",
    "country": "US",
    "concurrency": 100,
    "rate": None,
    "limit": None,
    "adaptiveLimit": 100,
    "allowed": 100,
    "queued": 0,
    "processing": 0,
    "paused": False,
    "retryAt": None,
    "breaker": {"state": "closed", "until": None},
}
STOP = """
UPDATE lane SET failures = 12, open_until = now() + interval '1 minute',
                not_before = now() + interval '1 hour', adaptive = 25
"""
ORDERS = ("pause", "resume", "limit")
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def operator(connection, registered, opened) -> AsyncIterator[httpx.AsyncClient]:
    """A client with an operator's key; both surfaces are registered, no lane was used."""
    issued = await keys.create(connection, "boss", role="operator")
    async with opened(issued.secret) as made:
        yield made


async def order(operator, what: str, path: str = US, **body: Any) -> dict[str, Any]:
    """The lane after an order that is carried out."""
    answer = await operator.post(f"{path}/{what}", json=body or None)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def shown(client, surface: str = "chatgpt") -> dict[str, dict[str, Any]]:
    """The lanes of a surface as everybody reads them, by country."""
    listed = (await client.get("/v1/surfaces")).json()["surfaces"]
    (found,) = [one for one in listed if one["name"] == surface]
    return {lane["country"]: lane for lane in found["lanes"]}


async def waits(client, job: str) -> dict[str, Any]:
    """Why each cell of a job waits, by its country."""
    read = (await client.get(f"/v1/jobs/{job}")).json()
    return {cell["region"]: cell["waiting"] for cell in read["children"]}


async def submit(client, **fields: Any) -> str:
    answer = await client.post("/v1/search", json=BODY | fields)
    assert answer.status_code == 202
    return answer.json()["jobId"]


def waiting(reason: str) -> dict[str, Any]:
    return {"reason": reason, "until": None}


async def test_an_operator_pauses_and_resumes_a_lane(operator, client):
    """200 with the lane as it is then, repeats too; everybody sees it."""
    for _ in range(2):
        assert await order(operator, "pause") == FREE | {"paused": True}
    assert (await shown(client))["US"] == FREE | {"paused": True}
    for _ in range(2):
        assert await order(operator, "resume") == FREE
    assert (await shown(client))["US"] == FREE


async def test_an_operator_limits_a_lane(operator, client):
    """At most so many at once; null takes the limit away; the configuration is what it was."""
    for _ in range(2):
        assert await order(operator, "limit", concurrency=3) == FREE | {"limit": 3, "allowed": 3}
    assert (await shown(client))["US"]["allowed"] == 3
    above = await order(operator, "limit", concurrency=MOST_AT_ONCE)
    assert above == FREE | {"limit": MOST_AT_ONCE}
    assert await order(operator, "limit", concurrency=None) == FREE


async def test_who_resumes_a_lane_says_that_it_works(operator, connection):
    """Its breaker closes and it waits for nothing; what its upstream bears is found out as ever."""
    await order(operator, "pause")
    await connection.execute(STOP)
    stopped = await order(operator, "pause")
    assert (stopped["breaker"]["state"], stopped["retryAt"] is not None) == ("open", True)
    slow = FREE | {"adaptiveLimit": 25, "allowed": 25}
    assert await order(operator, "resume") == slow
    assert await factories.scalar(connection, "SELECT failures FROM lane") == 0


async def test_nothing_starts_in_a_paused_lane_until_it_resumes(operator, client, worker):
    """The other lanes go on; what ran before ends; the cells say why they wait."""
    await submit(client, regions=["US"])
    (running,) = await worker.claim()
    await order(operator, "pause")
    job = await submit(client)
    assert await worker.claim() == []
    held = (await client.get("/v1/async/status")).json()["admissionQueue"]["held"]
    assert held == [
        {
            "surface": "chatgpt",
            "region": "US",
            "parents": 1,
            "reason": "lane_paused",
            "until": None,
        }
    ]
    assert await waits(client, job) == {
        "US": waiting("lane_paused"),
        "GB": waiting("admission"),
    }
    await children.settle(worker.connection, [Completed(running, "{}")])
    await order(operator, "resume")
    assert len(await worker.claim()) == 2
    assert await waits(client, job) == {"US": None, "GB": None}


async def test_a_limit_is_kept_at_once(operator, client, worker):
    """No more run than it allows, those that ran before counted."""
    await submit(client, regions=["US"])
    assert len(await worker.claim()) == 1
    await order(operator, "limit", concurrency=2)
    for _ in range(3):
        await submit(client, regions=["US"])
    assert len(await worker.claim()) == 1
    lane = (await shown(client))["US"]
    assert (lane["processing"], lane["queued"], lane["allowed"]) == (2, 2, 2)
    await order(operator, "limit", concurrency=None)
    assert len(await worker.claim()) == 2


@pytest.mark.parametrize("what", ORDERS)
async def test_a_lane_not_used_yet_is_made_with_its_limits(operator, connection, what):
    """What is paused before its first job is paused when that comes; in any case."""
    limits = {"DE": RegionLimits(concurrency=5, rate="30/min")}
    surface = msgspec.structs.replace(CHATGPT, rate="10/s", regions=limits)
    await surfaces.register(connection, [surface])
    made = await order(operator, what, "/v1/lanes/chatgpt/de", concurrency=4)
    assert (made["country"], made["concurrency"], made["rate"]) == ("DE", 5, "30/min")
    again = await order(operator, what, "/v1/lanes/chatgpt/De", concurrency=4)
    assert again == made
    assert [lane.country for lane in await lanes.all_lanes(connection)] == ["DE"]


async def test_what_an_operator_said_survives_a_worker_that_starts(operator, connection):
    """A registration configures the lane and leaves the operator's word alone."""
    await order(operator, "pause")
    await order(operator, "limit", concurrency=3)
    newer = msgspec.structs.replace(CHATGPT, concurrency=7, rate="600/min")
    await surfaces.register(connection, [newer, SITE])
    told = {"concurrency": 7, "rate": "10/s", "adaptiveLimit": 7}
    said = {"paused": True, "limit": 3, "allowed": 3}
    assert (await shown(operator))["US"] == FREE | told | said


NOWHERE = {
    "nosuch/US": "chatgpt, site",
    "Chatgpt/US": "chatgpt, site",
    "%00/US": "chatgpt, site",
    "%ff%fe/US": "chatgpt, site",
    "site/FR": "GB, US",
    "site/XX": "GB, US",
    "chatgpt/XX": "every country",
    "chatgpt/USA": "every country",
    "chatgpt/%00%00": "every country",
    "chatgpt/%C3%9F": "every country",  # ß, the upper case of which is South Sudan's code
    "chatgpt/" + "U" * 5000: "every country",
}


@pytest.mark.parametrize("what", ORDERS)
async def test_a_lane_there_is_not_is_a_404_that_says_what_there_is(operator, connection, what):
    """No surface of that name, or a country it does not look from; nothing is made."""
    for path, exists in NOWHERE.items():
        answer = await operator.post(f"/v1/lanes/{path}/{what}", json={"concurrency": 1})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (404, "NOT_FOUND"), path
        assert exists in error["message"], path
    assert await lanes.all_lanes(connection) == []


NO_LIMITS = {
    "{}": ("concurrency", "null for no limit"),
    '{"concurrency": 0}': ("concurrency", "pause it"),
    '{"concurrency": -1}': ("concurrency", "pause it"),
    '{"concurrency": 1.5}': ("concurrency", f"1 to {MOST_AT_ONCE}"),
    '{"concurrency": "3"}': ("concurrency", "1 to"),
    '{"concurrency": true}': ("concurrency", "1 to"),
    '{"concurrency": 1e400}': ("", ""),
    f'{{"concurrency": {MOST_AT_ONCE + 1}}}': ("concurrency", "1 to"),
    '{"concurrency": 3, "rate": "1/s"}': ("rate", "allowed: concurrency"),
    '{"concurrency": "\\u0000"}': ("concurrency", "NUL"),
    "[]": ("", "must be a JSON object"),
    "": ("", ""),
    "{": ("", ""),
}


async def test_a_limit_that_cannot_be_is_a_400(operator, connection):
    """With where and what is allowed; the lane is as it was."""
    for body, (path, allowed) in NO_LIMITS.items():
        answer = await operator.post(f"{US}/limit", content=body, headers=JSON)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "VALIDATION_FAILED"), body
        faults = [(fault["path"], fault["message"]) for fault in error["details"]]
        assert any(at == path and allowed in message for at, message in faults), body
    assert await lanes.all_lanes(connection) == []


async def test_a_whole_number_may_be_written_with_a_point(operator):
    """To JSON 3.0 is an integer."""
    answer = await operator.post(f"{US}/limit", content='{"concurrency": 3.0}', headers=JSON)
    assert answer.json()["limit"] == 3


@pytest.mark.parametrize("what", ORDERS)
async def test_unknown_query_parameters_are_refused(operator, connection, what):
    """As of every write, with the faults of the body."""
    answer = await operator.post(f"{US}/{what}?until=noon", json={"concurrency": 0})
    assert answer.status_code == 400
    paths = [fault["path"] for fault in answer.json()["error"]["details"]]
    assert paths == ["?until"] + ["concurrency"] * (what == "limit")
    assert await lanes.all_lanes(connection) == []


@pytest.mark.parametrize("what", ORDERS)
async def test_to_a_client_lanes_have_no_paths(client, connection, what):
    """404, and nothing happens."""
    await factories.lane(connection)
    answer = await client.post(f"{US}/{what}", json={"concurrency": 1})
    assert answer.status_code == 404
    assert "Nothing is served at this path" in answer.json()["error"]["message"]
    assert (await shown(client))["US"] == FREE


async def test_a_sync_call_of_paused_lanes_is_told_at_once(operator, client, connection):
    """503 with Retry-After and nothing stored: nobody knows when they resume."""
    for country in ("US", "GB"):
        await order(operator, "pause", f"/v1/lanes/chatgpt/{country}")
    answer = await client.post("/v1/search?mode=sync", json=BODY)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "SURFACE_UNAVAILABLE"
    assert "paused" in answer.json()["error"]["message"]
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert await factories.scalar(connection, "SELECT count(*) FROM parent") == 0


async def test_surfaces_say_what_is_configured(client, connection):
    """The rate as it is written, the slots of a child; each lane its own limits."""
    own = {"GB": RegionLimits(concurrency=5, rate="2/min")}
    heavy = msgspec.structs.replace(CHATGPT, rate="600/min", slots=4, regions=own)
    await surfaces.register(connection, [heavy])
    named = {Place("chatgpt", country): heavy.limits(country) for country in ("US", "GB")}
    await lanes.ensure(connection, named)
    listed = (await client.get("/v1/surfaces")).json()["surfaces"]
    limits = listed[0]["limits"]
    assert (limits["concurrency"], limits["rate"], limits["slots"]) == (100, "600/min", 4)
    told = {at: (lane["concurrency"], lane["rate"]) for at, lane in (await shown(client)).items()}
    assert told == {"US": (100, "10/s"), "GB": (5, "2/min")}


async def test_a_lane_shows_what_its_upstream_asked_for(client, connection):
    """`retryAt` while it is to come; `adaptiveLimit` below what is configured once it throttled."""
    await factories.lane(connection)
    await connection.execute("UPDATE lane SET not_before = now() - interval '1 second'")
    assert (await shown(client))["US"] == FREE
    await connection.execute(
        "UPDATE lane SET not_before = '2100-01-01T00:00:00Z', adaptive = 25, good = 3"
    )
    assert (await shown(client))["US"] == FREE | {
        "retryAt": "2100-01-01T00:00:00.000Z",
        "adaptiveLimit": 25,
        "allowed": 25,
    }


async def test_the_metrics_say_what_a_lane_may_do(operator):
    """The least of its limits, and whether an operator paused it."""
    gb = {"surface": "chatgpt", "country": "GB"}
    us = {"surface": "chatgpt", "country": "US"}
    await order(operator, "limit", concurrency=3)
    await order(operator, "pause", "/v1/lanes/chatgpt/GB")
    seen = await samples(operator)
    assert seen[of("parallax_lane_limit", **us)] == 3
    assert seen[of("parallax_lane_limit", **gb)] == 100
    assert seen[of("parallax_lane_paused", **us)] == 0
    assert seen[of("parallax_lane_paused", **gb)] == 1
