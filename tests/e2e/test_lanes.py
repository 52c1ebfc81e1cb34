"""What lanes promise their upstreams, as the upstream's own log has it, over three workers."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import chain, repeat

import pytest

from orchestrator.client import ApiError, Client
from orchestrator.domain.documents import Waiting
from orchestrator.domain.lane_views import LaneView
from orchestrator.domain.lanes import PAUSE_SECONDS, STRIKES
from tests.e2e import crew as crews
from tests.e2e import judging, processes, witness
from tests.e2e.crew import Crew
from tests.e2e.judging import Call
from tests.e2e.processes import Server
from tests.e2e.witness import FINE, Hold, Manner, Reply, Witness, always
from tests.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

WORKERS = ("ada", "bob", "cyd")
SLOTS = 3
"""Of each worker: fewer than the lanes allow, so that they are needed together."""
WIDE, NARROW = 6, 3
RATES = {"US": ("10/s", 10.0), "GB": ("40/s", 40.0), "DE": ("90/min", 1.5)}
RATED_SECONDS, WORTH_SECONDS = 3, 20
"""So long a rate is made use of, and so long it may take to come to that."""
FAST = 160
"""The most calls of a rate: four seconds of the fastest."""
USED = 0.8
ASKED_SECONDS = 2
LONG_AGO = "Sun, 06 Nov 1994 08:49:{:02} GMT"
BEARS, THROTTLED = 4, 8
STEERED = 4
REFUSED = 0.2
ATTEMPTS = 3

SURFACE = """
[surfaces.{name}]
adapter = "http"
timeout = "2m"
{settings}
[surfaces.{name}.options]
url = "{at}/{name}?q={{query}}&cc={{country}}"
text = "answer"
headers = {{ "X-Worker" = "${{WORKER}}" }}
"""
REGION = """
[surfaces.{name}.regions.{country}]
{settings}
"""


def configuration(url: str, late_url: str) -> str:
    """A surface for each test; that which is `gone` is at the late address."""
    settings = {
        "crowd": f"concurrency = {WIDE}",
        "mortal": f"concurrency = {WIDE}",
        "paced": "",
        "busy": f"concurrency = {NARROW}",
        "thin": f"concurrency = {THROTTLED}\nattempts = 10",
        "dead": f"concurrency = {WIDE}",
        "gone": f"concurrency = {NARROW}",
        "well": "",
        "steered": f"concurrency = {STEERED}",
        "wrong": f"attempts = {ATTEMPTS}",
    }
    regions = [("crowd", "GB", f"concurrency = {NARROW}")]
    regions += [("paced", country, f'rate = "{text}"') for country, (text, _) in RATES.items()]
    surfaces = [
        SURFACE.format(name=name, settings=own, at=late_url if name == "gone" else url)
        for name, own in settings.items()
    ]
    return "".join(
        surfaces + [REGION.format(name=name, country=cc, settings=own) for name, cc, own in regions]
    )


@pytest.fixture(scope="module")
def upstream() -> Iterator[Witness]:
    with witness.witnessing() as made:
        yield made


@pytest.fixture(scope="module")
async def server(anyio_backend, upstream, tmp_path_factory) -> AsyncIterator[Server]:
    """An API process; each test has surfaces and a key of its own."""
    configured = configuration(upstream.url, upstream.late_url)
    made = processes.configured(tmp_path_factory.mktemp("lanes"), configured)
    async with made.up("--workers", "0"):
        yield made


@pytest.fixture(scope="module")
async def crew(server) -> AsyncIterator[Crew]:
    async with crews.working(server, *WORKERS, slots=SLOTS) as made:
        yield made


@pytest.fixture
async def client(server, crew, request) -> AsyncIterator[Client]:
    """With a key that is no limit itself."""
    secret = await server.key(request.node.name, concurrency=1000)
    async with server.client(secret) as made:
        yield made


@pytest.fixture
async def operator(server, request) -> AsyncIterator[Client]:
    secret = await server.key(f"operator of {request.node.name}", role="operator")
    async with server.client(secret) as made:
        yield made


async def submit(client: Client, n: int, surface: str, country: str) -> list[str]:
    """Parents of one cell each, in a group named as their lane; their ids."""
    told = {"surfaces": [surface], "regions": [country], "group": f"{surface}.{country}"}
    items = [{"query": f"{surface} {country} {number}"} | told for number in range(n)]
    return [stored.job.id for stored in await client.submit_batch(items)]


async def completed(client: Client, n: int, surface: str, country: str) -> None:
    """Wait until that many of the lane's are, and none has failed."""

    async def look() -> bool:
        parents = (await client.group(f"{surface}.{country}")).parents
        assert parents.failed == 0
        return parents.completed == n

    await eventually(look, seconds=60)


async def lane(client: Client, surface: str, country: str) -> LaneView:
    surfaces = {one.name: one for one in (await client.surfaces()).surfaces}
    return next(one for one in surfaces[surface].lanes if one.country == country)


async def test_the_limit_of_a_lane_is_reached_and_never_passed(client, upstream):
    """Async work leaves one place to callers who wait; together they fill the lane, never more."""
    limits, hold = {"US": WIDE, "GB": NARROW}, Hold()
    for country in limits:
        upstream.behave("crowd", country, hold)
        await submit(client, 30, "crowd", country)
    waiting = (client.ask("who waits", surfaces=["crowd"], regions=["US"]) for _ in range(WIDE))
    waiting = asyncio.gather(*waiting)
    for country, limit in limits.items():
        await upstream.until(lambda cc=country, n=limit: len(upstream.open("crowd", cc)) == n)
        upstream.behave("crowd", country, always(FINE))
    upstream.let_go(hold)
    await waiting
    for country, limit in limits.items():
        await completed(client, 30, "crowd", country)
        assert judging.most_at_once(upstream.of("crowd", country)) == limit


@pytest.mark.slow  # a worker is known to be dead after ten seconds
async def test_the_limit_of_a_lane_holds_while_a_worker_is_killed(server, client, crew, upstream):
    """Its calls' places are filled again when they are rescued, no sooner, and then all of them."""
    hold = Hold()
    upstream.behave("mortal", "US", hold)
    await submit(client, 20, "mortal", "US")
    waiting = asyncio.create_task(client.ask("waits", surfaces=["mortal"], regions=["US"]))
    await upstream.until(lambda: len(upstream.open("mortal", "US")) == WIDE)
    at_work = [call.worker for call in upstream.open("mortal", "US")]
    victim = max(at_work, key=at_work.count)
    await crew.kill(victim)
    await upstream.until(lambda: len(upstream.open("mortal", "US")) < WIDE)
    await upstream.until(lambda: len(upstream.open("mortal", "US")) == WIDE)
    upstream.behave("mortal", "US", always(FINE))
    upstream.let_go(hold)
    await completed(client, 20, "mortal", "US")
    await waiting
    await crew.join(victim)
    calls = upstream.of("mortal", "US")
    assert judging.most_at_once(calls) == WIDE
    assert judging.statuses(calls).count(None) == at_work.count(victim)
    assert await server.differences() == []
    assert server.faults() == []


async def test_no_window_has_more_starts_than_its_rate_allows(server, crew, upstream):
    """Not one between any two starts, whichever workers make them; and the rates are made use of.

    Seconds and minutes are two ways to say the same. What of a fast rate is used, the machine says.
    """

    def starts(country: str) -> list[float]:
        return [call.arrived for call in upstream.of("paced", country)]

    def used(country: str) -> bool:
        return judging.best_share(starts(country), RATES[country][1], RATED_SECONDS) >= USED

    for country, (_, rate) in RATES.items():
        secret = await server.key(f"paced in {country}")
        async with server.client(secret) as client:  # its own: none waits for another's work
            await submit(client, min(FAST, round(rate * WORTH_SECONDS)), "paced", country)
    await upstream.until(lambda: len(starts("GB")) >= FAST)
    await upstream.until(lambda: used("US") and used("DE"))
    for country, (_, rate) in RATES.items():
        assert judging.most_beyond(starts(country), rate) <= 0, country


def first(reply: Hold, then: Hold) -> Manner:
    """Answer the first call by the one, all others by the other."""
    holds = chain([reply], repeat(then))

    async def answer(call: Call) -> Reply:
        return await next(holds)(call)

    return answer


async def test_nothing_starts_before_an_upstream_wants_to_be_asked_again(client, upstream):
    """It says so in seconds, or as a date by its own clock; other lanes go on, and all complete."""
    date = {"Date": LONG_AGO.format(1), "Retry-After": LONG_AGO.format(1 + ASKED_SECONDS)}
    asked = {"US": {"Retry-After": str(ASKED_SECONDS)}, "GB": date}
    others = Hold()
    refusals = {country: Hold(Reply(429, headers)) for country, headers in asked.items()}
    jobs = {}
    for country, refusal in refusals.items():
        upstream.behave("busy", country, first(refusal, others))
        jobs[country] = await submit(client, 10, "busy", country)
        await upstream.until(lambda cc=country: len(upstream.open("busy", cc)) == NARROW)
    upstream.let_go(*refusals.values())
    for country in asked:
        child = await refused_child(client, upstream, country, jobs[country])
        await eventually(lambda cc=country: told_of_the_pause(client, cc))
        jobs[country] = child
    upstream.let_go(others)
    await submit(client, 10, "busy", "DE")
    for country in ("DE", *asked):
        await completed(client, 10, "busy", country)
    for country in asked:
        calls = upstream.of("busy", country)
        refused = calls[0].ended
        later = [call.arrived for call in calls if call.arrived > refused]
        assert len(later) == 10 - NARROW + 1
        assert min(later) >= refused + ASKED_SECONDS
        assert max(call.ended for call in upstream.of("busy", "DE")) < min(later)
        assert await tries(client, jobs[country]) == [
            (1, "failed", "UPSTREAM_STATUS", 429),
            (2, "completed", None, None),
        ]


async def refused_child(
    client: Client, upstream: Witness, country: str, jobs: Sequence[str]
) -> str:
    """The child whose call was the first, once its refusal can be read."""
    number = int(upstream.of("busy", country)[0].query.rpartition(" ")[2])
    child = f"{jobs[number]}.busy.{country.lower()}"

    async def look() -> bool:
        return (await tries(client, child))[:1] == [(1, "failed", "UPSTREAM_STATUS", 429)]

    await eventually(look)
    return child


async def told_of_the_pause(client: Client, country: str) -> bool:
    return (await lane(client, "busy", country)).retry_at is not None


async def tries(client: Client, child: str) -> list[tuple[int, str, str | None, int | None]]:
    log = (await client.envelope(child)).job.attempt_log
    return [(one.number, one.status, one.code, one.response_code) for one in log]


async def test_a_lane_adapts_to_what_its_upstream_bears(client, upstream):
    """After a second few calls are refused; when it bears all again, all its places are used."""

    async def bearing(call: Call) -> Reply:
        if len(upstream.open("thin", "US")) > BEARS:
            return Reply(429)
        return await always(FINE, seconds=0.05)(call)

    async def adapted() -> bool:
        return (await lane(client, "thin", "US")).adaptive_limit < THROTTLED

    upstream.behave("thin", "US", bearing)
    await submit(client, 200, "thin", "US")
    await eventually(adapted)
    await upstream.until(lambda: judging.statuses(upstream.of("thin", "US")).count(200) >= 120)
    upstream.behave("thin", "US", always(FINE))
    calls = upstream.of("thin", "US")
    answers = judging.statuses([c for c in calls if c.ended and c.arrived > calls[0].arrived + 1])
    assert 429 in judging.statuses(calls)
    assert answers.count(200) > 0
    assert answers.count(429) <= REFUSED * len(answers)
    await submit(client, 50, "thin", "US")

    async def whole() -> bool:
        return (await lane(client, "thin", "US")).adaptive_limit == THROTTLED

    await eventually(whole)
    await completed(client, 250, "thin", "US")


async def test_a_dead_upstream_is_left_alone_and_found_again(client, upstream):
    """After some failures nothing calls it until one call finds out whether it works again.

    What waits for it says so and until when, and holds up nothing else of its key, though it was
    there first. So it is with an upstream that is there and fails, and with one that is not there.
    """
    probes = {surface: Hold() for surface in ("dead", "gone")}
    upstream.behave("dead", "US", always(Reply(500), seconds=0))
    upstream.behave("gone", "US", probes["gone"])
    jobs = await submit(client, 300, "dead", "US")
    await submit(client, 40, "gone", "US")
    await submit(client, 20, "well", "US")
    cut_off = await eventually(lambda: open_and_idle(client, "dead"))
    waits = Waiting(reason="breaker_open", until=cut_off.breaker.until)
    assert (await client.job(jobs[-1])).children[0].waiting == waits
    upstream.behave("dead", "US", probes["dead"])
    failed = upstream.of("dead", "US")
    assert STRIKES <= len(failed) < STRIKES + WIDE
    await completed(client, 20, "well", "US")
    assert judging.statuses(upstream.of("dead", "US")).count(200) == 0
    await eventually(lambda: open_and_idle(client, "gone"))
    assert await all_held(client) == {(name, "US", "breaker_open") for name in probes}

    upstream.listen()
    for name in probes:
        await upstream.until(lambda name=name: upstream.open(name, "US"))
    await submit(client, 10, "well", "GB")
    await completed(client, 10, "well", "GB")
    for name, hold in probes.items():
        assert len(upstream.open(name, "US")) == 1
        upstream.let_go(hold)
    await completed(client, 300, "dead", "US")
    await completed(client, 40, "gone", "US")
    tenth = sorted(call.ended for call in failed)[STRIKES - 1]
    assert upstream.of("dead", "US")[len(failed)].arrived >= tenth + PAUSE_SECONDS


async def open_and_idle(client: Client, surface: str) -> LaneView | None:
    """The lane once its breaker is open and what ran has ended."""
    seen = await lane(client, surface, "US")
    return seen if seen.breaker.state == "open" and seen.processing == 0 else None


async def all_held(client: Client) -> set[tuple[str, str, str]]:
    """The lanes that hold parents in the queue, and why, once they hold all that waits there."""

    async def look() -> set[tuple[str, str, str]]:
        queue = (await client.status()).admission_queue
        whole = sum(one.parents for one in queue.held) == queue.waiting
        return {(one.surface, one.region, one.reason) for one in queue.held if whole}

    return await eventually(look)


async def order(operator: Client, what: str, **body: int | None) -> LaneView:
    """What an operator is answered who pauses, resumes or limits the lane `steered` in the US."""
    path = f"/v1/lanes/steered/us/{what}"
    return await operator.typed(LaneView, "POST", path, **({"json": body} if body else {}))


async def idle(client: Client) -> bool:
    return (await lane(client, "steered", "US")).processing == 0


async def answers(client: Client) -> bool:
    try:
        return bool(await client.status())
    except ApiError:
        return False


@pytest.mark.slow
async def test_what_an_operator_orders_of_a_lane_holds(server, crew, client, operator, upstream):
    """Paused, nothing starts, whoever is killed and started again; limited, no more; resumed, all.

    What runs when the order is answered may end, and nothing else calls.
    """
    upstream.behave("steered", "US", always(FINE, seconds=0.03))
    await submit(client, 50, "steered", "US")
    await upstream.until(lambda: len(upstream.of("steered", "US")) >= 10)
    assert (await order(operator, "pause")).paused
    paused = time.time()
    await eventually(lambda: idle(client))
    calls = upstream.of("steered", "US")
    assert sum(call.open_at(paused) or call.arrived > paused for call in calls) <= STEERED
    assert await all_held(client) == {("steered", "US", "lane_paused")}

    await crew.kill(*WORKERS)
    server.kill_postgres()
    await server.kill("api-1")
    await crew.join(*WORKERS)
    await eventually(lambda: answers(client), seconds=60)
    await submit(client, 5, "steered", "GB")
    await completed(client, 5, "steered", "GB")
    assert (await lane(client, "steered", "US")).paused
    assert len(upstream.of("steered", "US")) == len(calls)

    assert (await order(operator, "limit", concurrency=1)).limit == 1
    assert not (await order(operator, "resume")).paused
    await upstream.until(lambda: len(upstream.of("steered", "US")) >= len(calls) + 6)
    limited = upstream.of("steered", "US")[len(calls) :]
    assert (await order(operator, "limit", concurrency=None)).limit is None
    await completed(client, 50, "steered", "US")
    assert judging.most_at_once(limited) == 1
    assert judging.most_at_once(upstream.of("steered", "US")) == STEERED - 1


async def test_what_cannot_pass_is_tried_once(client, upstream):
    """What may pass is tried as often as the surface is to be; each attempt can be read."""
    answers = {"US": 404, "GB": 500}
    for country, status in answers.items():
        upstream.behave("wrong", country, always(Reply(status)))
    job = await client.submit("tea", surfaces=["wrong"], regions=list(answers))
    assert (await client.wait(job.job_id)).job.counts.failed == 2
    for child, status, attempts in zip(job.children, (404, 500), (1, ATTEMPTS), strict=True):
        assert await tries(client, child) == [
            (number, "failed", "UPSTREAM_STATUS", status) for number in range(1, attempts + 1)
        ]
    assert judging.statuses(upstream.of("wrong", "US")) == [404]
    assert judging.statuses(upstream.of("wrong", "GB")) == [500] * ATTEMPTS
