"""Preflight and reservations over HTTP."""

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest

from orchestrator.api.app import create_app
from orchestrator.store import children
from orchestrator.store.children import Completed

pytestmark = pytest.mark.anyio

ASKED = {"jobs": 1, "surfaces": ["chatgpt"]}
JOB = {"query": "a", "surfaces": ["chatgpt"]}
ROOM = {"async": 1000, "sync": 8}
TOO_MANY = [{"country": "US", "city": f"City {n}"} for n in range(21)]
UNKNOWN = "res_06h00r4h1trtr7pjt7b69j1f04"


async def ask(client, status=200, **fields):
    """What the preflight says of these fields; one job of chatgpt where they say nothing else."""
    answer = await client.post("/v1/async/preflight", json=ASKED | fields)
    assert answer.status_code == status, answer.text
    return answer.json()


async def submit(client, reservation=None):
    headers = {"X-Reservation": reservation} if reservation else {}
    return await client.post("/v1/search", json=JOB, headers=headers)


async def queue_of(client):
    return (await client.get("/v1/async/status")).json()["admissionQueue"]


async def refused(client):
    """The details of the refusal that a job meets."""
    answer = await submit(client)
    assert answer.status_code == 429
    return answer.json()["error"]["details"]


async def test_a_new_key_has_room_and_no_pace(client, worker):
    """Every field of the answer: admitted, started at once, and when it ends is not known."""
    told = await ask(client, jobs=1000, regions=["US", "GB"])
    assert told == {
        "admitted": True,
        "binding": None,
        "headroom": ROOM,
        "retryAfterSeconds": None,
        "estimatedStartSeconds": 0.0,
        "estimatedFinishSeconds": None,
        "estimatedCredits": 0,
        "reservation": None,
    }


@pytest.fixture
async def small(registered, issue, opened):
    """A client whose queue has five places."""
    async with opened((await issue(queue_capacity=5, sync_limit=2)).secret) as made:
        yield made


async def test_preflight_agrees_with_what_admission_then_does(small):
    """As many jobs as it admits are admitted; one more is refused, at the limit it named."""
    for taken in range(6):
        assert (await ask(small, jobs=5 - taken))["admitted"] if taken < 5 else True
        over = await ask(small, jobs=6 - taken)
        assert (over["admitted"], over["binding"]) == (False, "admissionQueue")
        assert over["headroom"]["async"] == 5 - taken
        assert (await submit(small)).status_code == (202 if taken < 5 else 429)


async def test_it_takes_nothing_and_promises_nothing(small):
    """However often it is asked, the place is there and a refusal says what it would have said."""
    for _ in range(5):
        assert (await ask(small))["admitted"]
    for _ in range(5):
        await submit(small)
    first = [(await ask(small))["retryAfterSeconds"] for _ in range(5)]
    details = await refused(small)
    assert first == [details["retryAfterSeconds"]] * 5
    assert (await queue_of(small))["depth"] == 5


async def test_what_never_fits_has_no_time_to_come_back(small):
    """More jobs than places or sync callers there are: refused, without `retryAfterSeconds`."""
    for fields, binding in (({}, "admissionQueue"), ({"mode": "sync"}, "syncConcurrency")):
        told = await ask(small, jobs=6, **fields)
        expected = (False, binding, None)
        assert (told["admitted"], told["binding"], told["retryAfterSeconds"]) == expected


async def test_sync_jobs_are_held_against_the_sync_limit(small):
    """Full queue or not, as many as there are sync places are admitted, and are not reserved."""
    for _ in range(5):
        await submit(small)
    told = await ask(small, jobs=2, mode="sync", reserveSeconds=5)
    assert (told["admitted"], told["reservation"]) == (True, None)


async def test_the_rate_binds_first(registered, issue, opened):
    """A batch is a request for 500 jobs, a sync job one for itself; the refusal says when."""
    async with opened((await issue(requests_per_minute=10)).secret) as client:
        left = int((await client.get("/v1/key")).headers["X-RateLimit-Remaining"])
        assert left == 9
        fits = await ask(client, jobs=8 * 500)
        assert fits["binding"] == "admissionQueue"
        over = await ask(client, jobs=8 * 500)
        assert over["binding"] == "requestRate"
        assert 1 <= over["retryAfterSeconds"] <= 60
        sync = await ask(client, jobs=7, mode="sync")
        assert sync["binding"] == "requestRate"
        never = await ask(client, jobs=11, mode="sync")
        assert (never["binding"], never["retryAfterSeconds"]) == ("requestRate", None)


async def test_it_costs_one_token(client):
    """Each preflight is a request like any other; nothing else is counted."""
    before = await client.post("/v1/async/preflight", json=ASKED)
    after = await client.post("/v1/async/preflight", json=ASKED)
    left = [int(answer.headers["X-RateLimit-Remaining"]) for answer in (before, after)]
    assert left[1] in {left[0] - 1, left[0]}
    usage = (await client.get("/v1/usage")).json()["usage"]
    assert usage["totalJobs"] == 0


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"jobs": 0}, ["jobs"]),
        ({"jobs": 1_000_001}, ["jobs"]),
        ({"jobs": 1.5, "mode": "later", "reserveSeconds": 0}, ["jobs", "mode", "reserveSeconds"]),
        ({"reserveSeconds": 121}, ["reserveSeconds"]),
        ({"query": "a", "priority": 3}, ["priority", "query"]),
        ({"surfaces": []}, ["surfaces"]),
        ({"surfaces": ["chatgpt", "chatgpt"], "jobs": -1}, ["jobs", "surfaces[1]"]),
        ({"regions": ["US", "XX", "us"]}, ["regions[1].country", "regions[2]"]),
        ({"surfaces": ["a\0"]}, ["surfaces[0]", "surfaces[0]"]),
        (
            {"regions": [{"country": "US", "city": f"C{n}"} for n in range(21)], "mode": "sync"},
            [""],
        ),
    ],
)
async def test_each_fault_names_its_place(client, fields, paths):
    """All that is wrong is told at once, where a submission would tell it."""
    details = (await ask(client, 400, **fields))["error"]["details"]
    assert sorted(fault["path"] for fault in details) == paths


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"jobs"'])
async def test_what_is_no_json_object_is_said_so(client, body):
    """400 with one fault."""
    answer = await client.post("/v1/async/preflight", content=body)
    assert (answer.status_code, len(answer.json()["error"]["details"])) == (400, 1)


async def test_unknown_query_parameters_are_refused(client):
    """Neither takes any."""
    for answer in (
        await client.post("/v1/async/preflight?mode=sync", json=ASKED),
        await client.delete(f"/v1/async/reservations/{UNKNOWN}?now=1"),
    ):
        assert answer.status_code == 400
        assert answer.json()["error"]["details"][0]["path"].startswith("?")


async def test_impossible_cells_are_refused_as_a_submission_is(client):
    """The same code, message and details."""
    for cells in ({"surfaces": ["altavista"]}, {"surfaces": ["site"], "regions": ["FR"]}):
        told = (await ask(client, 400, **cells))["error"]
        submitted = await client.post("/v1/search", json=JOB | cells)
        expected = submitted.json()["error"]
        same = ("code", "message", "details")
        assert [told[name] for name in same] == [expected[name] for name in same]


async def test_a_reservation_holds_places_until_they_are_drawn(small):
    """Nobody takes them without it, it draws on them first, then on the queue, and says so."""
    told = await ask(small, jobs=3, reserveSeconds=60)
    held = told["reservation"]
    assert (held["places"], told["headroom"]["async"]) == (3, 2)
    before = await queue_of(small)
    assert (before["depth"], before["waiting"], before["reserved"]) == (3, 0, 3)
    assert [(await submit(small)).status_code for _ in range(3)] == [202, 202, 429]
    remaining = []
    for _ in range(3):
        answer = await submit(small, held["id"])
        assert answer.status_code == 202
        remaining.append(answer.headers["X-Reservation-Remaining"])
    assert remaining == ["2", "1", "0"]
    spent = await submit(small, held["id"])
    assert (spent.status_code, "X-Reservation-Remaining" in spent.headers) == (429, False)
    after = await queue_of(small)
    assert (after["depth"], after["waiting"], after["reserved"]) == (5, 5, 0)


async def test_what_a_refusal_counts_is_what_the_snapshot_counts(small):
    """Reserved places are taken: `current`, X-Concurrency-Queued and `depth` agree."""
    await submit(small)
    await ask(small, jobs=4, reserveSeconds=60)
    answer = await submit(small)
    assert answer.status_code == 429
    assert answer.json()["error"]["details"]["current"] == 5
    assert answer.headers["X-Concurrency-Queued"] == "5"
    assert (await queue_of(small))["depth"] == 5


async def test_nothing_is_reserved_of_what_would_not_be_admitted(small):
    """`reservation` is null and the queue as it was."""
    told = await ask(small, jobs=6, reserveSeconds=60)
    assert (told["admitted"], told["reservation"]) == (False, None)
    assert (await queue_of(small))["reserved"] == 0


async def test_a_reservation_given_back_is_free_at_once(small):
    """204, its places are there; a second time there is none."""
    held = (await ask(small, jobs=5, reserveSeconds=60))["reservation"]["id"]
    path = f"/v1/async/reservations/{held}"
    given = await small.delete(path)
    assert (given.status_code, given.content) == (204, b"")
    assert "Content-Length" not in given.headers
    again = await small.delete(path)
    assert (again.status_code, again.json()["error"]["code"]) == (404, "NOT_FOUND")
    assert (await queue_of(small))["depth"] == 0
    assert (await submit(small, held)).status_code == 202


async def test_time_alone_frees_what_expired(small, connection):
    """Nothing runs, yet its places are free, it is drawn on no more, and there is none to give."""
    held = (await ask(small, jobs=5, reserveSeconds=1))["reservation"]["id"]
    await connection.execute("UPDATE reservation SET expires_at = now() - interval '1 ms'")
    assert (await queue_of(small))["depth"] == 0
    assert (await ask(small, jobs=5))["admitted"]
    answer = await submit(small, held)
    assert (answer.status_code, "X-Reservation-Remaining" in answer.headers) == (202, False)
    assert (await small.delete(f"/v1/async/reservations/{held}")).status_code == 404


async def test_somebody_elses_reservation_is_nothing(small, registered, issue, opened):
    """It is neither drawn on nor given back by another key, and that key is not told of it."""
    held = (await ask(small, jobs=5, reserveSeconds=60))["reservation"]["id"]
    async with opened((await issue()).secret) as other:
        drawn = await submit(other, held)
        assert (drawn.status_code, "X-Reservation-Remaining" in drawn.headers) == (202, False)
        theirs, nobodys = [
            await other.delete(f"/v1/async/reservations/{name}") for name in (held, UNKNOWN)
        ]
        assert theirs.status_code == nobodys.status_code == 404
        assert theirs.json()["error"]["message"] == nobodys.json()["error"]["message"]
    assert (await queue_of(small))["reserved"] == 5


async def test_twenty_reservations_are_the_most_a_key_may_have(client, connection):
    """The 21st is a 400 that says how many live; one that expired makes room."""
    for _ in range(20):
        assert (await ask(client, reserveSeconds=60))["reservation"]
    (fault,) = (await ask(client, 400, reserveSeconds=60))["error"]["details"]
    assert fault["path"] == "reserveSeconds"
    assert "20 live" in fault["message"]
    assert (await ask(client))["admitted"]
    oldest = "UPDATE reservation SET expires_at = now() WHERE id = (SELECT min(id::text)::uuid"
    await connection.execute(oldest + " FROM reservation)")
    assert (await ask(client, reserveSeconds=60))["reservation"]


async def test_of_many_who_reserve_and_submit_at_once_the_queue_holds_what_fits(
    registered, settings, issue, app
):
    """Over two API processes five places go to five askers, whichever way they asked."""
    secret = (await issue(queue_capacity=5)).secret
    other = create_app(settings)
    async with other.lifespan(), AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(one),
                    base_url="http://parallax.test",
                    headers={"Authorization": f"Bearer {secret}"},
                )
            )
            for one in (app, other)
        ]
        reserving = [ask(client, reserveSeconds=60) for client in clients * 4]
        submitting = [submit(client) for client in clients * 4]
        answers = await asyncio.gather(*reserving, *submitting)
        held = [bool(told["reservation"]) for told in answers[:8]]
        assert held == [told["admitted"] for told in answers[:8]]
        stored = [answer.status_code == 202 for answer in answers[8:]]
        assert sum(held) + sum(stored) == 5
        assert (await queue_of(clients[0]))["depth"] == 5


async def test_the_estimates_follow_the_work(client, worker, connection):
    """Cells not ended and those of the jobs, at the pace cells end; the queue at its own."""
    for _ in range(3):
        await client.post("/v1/search", json=JOB)
    fences = await worker.claim()
    await children.settle(worker.connection, [Completed(fence, "{}") for fence in fences])
    for _ in range(4):
        await client.post("/v1/search", json=JOB)
    await connection.execute(
        "UPDATE usage SET ended = 30, spent = 60, busy = 120, ended_at = clock, busy_at = clock,"
        " ended_from = 0, drained = 60, drained_from = 0, drained_at = clock"
        " FROM (SELECT extract(epoch FROM now()) AS clock) AS at"
    )
    told = await ask(client, jobs=10, regions=["US", "GB"])
    at_once, each_takes = 120 / 30, 60 / 30
    assert told["estimatedFinishSeconds"] == pytest.approx((4 + 20) * each_takes / at_once, rel=0.1)
    assert told["estimatedStartSeconds"] == pytest.approx(4 / 2, rel=0.1)


async def test_the_credits_are_those_of_every_cell(client, connection):
    """Jobs × regions × what each surface costs."""
    await connection.execute(
        "UPDATE surface SET descriptor = descriptor::jsonb || '{\"credits\": 3}'"
    )
    told = await ask(client, jobs=7, surfaces=["chatgpt", "site"], regions=["US", "GB"])
    assert told["estimatedCredits"] == 7 * 2 * (3 + 3)


async def test_nobody_who_could_start_it_is_no_start(client):
    """Without a live worker nothing is known of when."""
    assert (await ask(client))["estimatedStartSeconds"] is None
