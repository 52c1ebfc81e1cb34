"""Streams and long polls of the real application: everything is told, once, and nothing is held."""

import asyncio
import dataclasses
import itertools
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
from psycopg import sql

from admission import keys
from admission.keys import Issued
from orchestrator import watchers as capped
from orchestrator.api.app import create_app
from orchestrator.api.cached import Cached
from orchestrator.api.looking import Job
from orchestrator.domain import ids
from orchestrator.store import children, watchers
from orchestrator.store.children import Completed, Failed, Retry
from tests import factories
from tests.api.streaming import Listener, listening
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

BODY = {"query": "shoes", "surfaces": ["chatgpt"], "regions": ["US", "GB"]}
ROWS = "SELECT coalesce(sum(n), 0)::int FROM watcher"


@pytest.fixture
async def issued(registered, issue) -> Issued:
    """A key that may ask as often as it likes."""
    return await issue(requests_per_minute=100_000)


@pytest.fixture
def secret(issued) -> str:
    return issued.secret


@pytest.fixture
def here(app):
    """What the application stands on."""
    return app.state["services"]


@pytest.fixture
async def client(opened, secret):
    async with opened(secret) as made:
        yield made


async def submit(client, **fields) -> str:
    answer = await client.post("/v1/search", json=BODY | fields)
    assert answer.status_code == 202
    return answer.json()["jobId"]


async def heard(listener: Listener, n: int) -> list[tuple[str, ...]]:
    """The next n events, in short."""
    return [short(await listener.event()) for _ in range(n)]


def short(event) -> tuple[str, ...]:
    """Who it is of, its status, and the attempts of a child or the run of a parent."""
    data = event.data
    if event.name == "parent":
        return "parent", data["status"], data["run"]
    return data["id"].rpartition(".")[2], data["status"], data["attempts"]


async def complete(worker, *fences):
    done = [Completed(fence, factories.CAPTURE, 200) for fence in fences]
    await children.settle(worker.connection, done)


async def nobody_watches(here, connection) -> None:
    """No watch, no place and no row is left."""

    async def none() -> bool:
        held = len(here.jobs) + len(here.snapshots) + len(here.watchers)
        return held == 0 and await factories.scalar(connection, ROWS) == 0

    await eventually(none)


async def test_a_job_is_told_as_it_is_and_as_it_changes(app, client, secret, worker):
    """First each child and the parent, then every change once, until the parent has ended."""
    job = await submit(client)
    async with listening(app, secret, f"/v1/jobs/{job}/events") as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["cache-control"] == "no-store"
        assert await heard(stream, 3) == [
            ("us", "queued", 0),
            ("gb", "queued", 0),
            ("parent", "queued", 1),
        ]
        first, second = await worker.claim()
        assert await heard(stream, 3) == [
            ("us", "processing", 1),
            ("gb", "processing", 1),
            ("parent", "processing", 1),
        ]
        await children.settle(worker.connection, [Retry(first, factories.FAILURE, 0.0, 503)])
        assert await heard(stream, 1) == [("us", "queued", 1)]
        await children.stage(worker.connection)
        (again,) = await worker.claim()
        assert await heard(stream, 1) == [("us", "processing", 2)]
        failed = Failed(second, factories.FAILURE, 503)
        await children.settle(worker.connection, [failed, Completed(again, factories.CAPTURE, 200)])
        assert [short(event) for event in await stream.rest()] == [
            ("us", "completed", 2),
            ("gb", "failed", 1),
            ("parent", "partial", 1),
        ]


async def test_events_are_the_elements_of_the_read(app, client, secret, worker):
    """What a stream says of a job is what its read says."""
    job = await submit(client)
    await complete(worker, *await worker.claim())
    read = (await client.get(f"/v1/jobs/{job}")).json()
    async with listening(app, secret, f"/v1/jobs/{job}/events") as stream:
        *cells, parent = [event.data for event in await stream.rest()]
    assert cells == read["children"]
    assert parent == read["job"]


async def test_whoever_comes_back_is_told_what_differs(app, client, secret, worker):
    """After each event that was ever heard the stream goes on, with nothing lost or doubled."""
    job = await submit(client)
    path = f"/v1/jobs/{job}/events"
    async with listening(app, secret, path) as stream:
        begun = [await stream.event() for _ in range(3)]
        await complete(worker, *await worker.claim())
        whole = begun + await stream.rest()
    end = [("us", "completed", 1), ("gb", "completed", 1), ("parent", "completed", 1)]
    for place, event in enumerate(whole[:-1]):
        async with listening(app, secret, path, last_event_id=event.id) as stream:
            told = [short(later) for later in await stream.rest()]
        known = {short(earlier)[0]: short(earlier) for earlier in whole[: place + 1]}
        assert told == [now for now in end if known.get(now[0]) != now]
    async with listening(app, secret, path, last_event_id=whole[-1].id) as stream:
        assert (stream.status, await stream.body()) == (204, b"")


@pytest.mark.parametrize("last", ["", "1", "pAAAA", "z", "é"])
async def test_an_id_that_is_none_is_a_first_connection(app, client, secret, worker, last):
    """Everything is told from the start."""
    job = await submit(client)
    await complete(worker, *await worker.claim())
    path = f"/v1/jobs/{job}/events"
    async with listening(app, secret, path, last_event_id=last) as stream:
        assert len(await stream.rest()) == 3


async def test_the_next_run_goes_on_from_the_one_before(app, client, secret, worker):
    """Who saw a job end and comes back after its retry is told of the next run alone."""
    job = await submit(client)
    path = f"/v1/jobs/{job}/events"
    first, second = await worker.claim()
    await complete(worker, first)
    await children.settle(worker.connection, [Failed(second, factories.FAILURE, 503)])
    async with listening(app, secret, path) as stream:
        last = (await stream.rest())[-1]
    assert (await client.post(f"/v1/jobs/{job}/retry")).status_code == 202
    async with listening(app, secret, path, last_event_id=last.id) as stream:
        assert await heard(stream, 2) == [("gb", "queued", 0), ("parent", "queued", 2)]
        await complete(worker, *await worker.claim())
        assert short((await stream.rest())[-1]) == ("parent", "completed", 2)


async def test_a_job_that_is_erased_ends_its_streams(app, client, secret, connection):
    """Nothing more is told; who comes back is told that there is no such job."""
    job = await submit(client)
    path = f"/v1/jobs/{job}/events"
    async with listening(app, secret, path) as stream:
        last = [await stream.event() for _ in range(3)][-1]
        await connection.execute("DELETE FROM parent")
        assert await stream.event() is None
    async with listening(app, secret, path, last_event_id=last.id) as stream:
        assert stream.status == 404


async def test_a_slow_reader_is_told_how_it_is_not_how_it_was(app, client, secret, worker):
    """What passes while a client does not read is not kept for it: one read of the job is all."""
    here = app.state["services"]
    job = await submit(client, regions=["US"])
    async with listening(app, secret, f"/v1/jobs/{job}/events") as stream:
        await heard(stream, 2)
        stream.pause()
        (watch,) = next(iter(here.jobs._watched.values()))
        seen = set()
        for _ in range(4):
            before = watch.version
            (fence,) = await worker.claim()
            await eventually(lambda: differs(watch, before))  # noqa: B023 - awaited here
            await children.settle(worker.connection, [Retry(fence, factories.FAILURE, 0.0, 503)])
            await children.stage(worker.connection)
            seen.add(watch.version)
        assert len(seen) == 4
        stream.go_on()
        (fence,) = await worker.claim()
        await complete(worker, fence)
        told = [short(event) for event in await stream.rest()]
    attempts = [attempts for who, _, attempts in told if who == "us"]
    assert attempts == sorted(attempts)
    assert len(told) < 2 * 4
    assert told[-2:] == [("us", "completed", 5), ("parent", "completed", 1)]


async def differs(watch, before) -> bool:
    return watch.version != before


async def test_who_leaves_leaves_nothing_behind(app, here, client, secret, connection):
    """A client that hangs up, in whatever stream or long poll, frees its place at once."""
    job = await submit(client)
    for path in (f"/v1/jobs/{job}/events", "/v1/async/status/stream"):
        async with listening(app, secret, path) as stream:
            assert await stream.event()
            assert len(here.watchers) == 1
        await nobody_watches(here, connection)
    polling = asyncio.create_task(poll(app, secret, f"/v1/jobs/{job}?wait=60"))
    await eventually(lambda: watched(here))
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    await nobody_watches(here, connection)


async def watched(here) -> bool:
    return len(here.jobs) > 0


async def poll(app, secret: str, path: str):
    """The status and the body of an answer that may be held."""
    async with listening(app, secret, path) as answer:
        return answer.status, await answer.body()


async def test_a_stream_beyond_the_cap_is_a_503(app, client, secret, connection, monkeypatch):
    """It says how many there may be and when to come back; a long poll is answered at once."""
    job = await submit(client)
    node = await factories.api_node(connection)
    (key,) = await (await connection.execute("SELECT id FROM api_key")).fetchone()
    await watchers.write(connection, node, {key: capped.MOST - 1})
    path = f"/v1/jobs/{job}/events"
    async with listening(app, secret, path) as stream:
        assert await stream.event()
        for refused in (path, "/v1/async/status/stream"):
            answer = await client.get(refused)
            assert answer.status_code == 503
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
            assert "100 streams" in answer.json()["error"]["message"]
        assert (await client.get(f"/v1/jobs/{job}?wait=60")).json()["job"]["status"] == "queued"
        await watchers.write(connection, node, {key: 0})
        async with listening(app, secret, path) as another:
            assert await another.event()


async def test_what_need_not_wait_takes_no_place(app, client, secret, worker, connection):
    """An ended job, no wait, no such job: answered although every place is taken."""
    job = await submit(client)
    await complete(worker, *await worker.claim())
    live = await submit(client)
    node = await factories.api_node(connection)
    (key,) = await (await connection.execute("SELECT id FROM api_key")).fetchone()
    await watchers.write(connection, node, {key: capped.MOST})
    assert (await client.get(f"/v1/jobs/{job}?wait=60")).status_code == 200
    assert (await client.get(f"/v1/jobs/{live}?wait=0")).status_code == 200
    assert (await client.get(f"/v1/jobs/{ids.text(ids.new())}?wait=60")).status_code == 404
    async with listening(app, secret, f"/v1/jobs/{job}/events") as stream:
        assert len(await stream.rest()) == 3


async def test_a_long_poll_is_held_until_something_changes(app, here, client, secret, worker):
    """A claim, a retry and an end each answer those who wait, with the read as it is then."""
    job = await submit(client, regions=["US"])

    async def next_read():
        polling = asyncio.create_task(poll(app, secret, f"/v1/jobs/{job}?wait=60"))
        await eventually(lambda: watched(here))
        return polling

    polling = await next_read()
    (fence,) = await worker.claim()
    assert b'"status":"processing"' in (await polling)[1]
    polling = await next_read()
    await children.settle(worker.connection, [Retry(fence, factories.FAILURE, 60.0, 503)])
    assert b'"reason":"retry"' in (await polling)[1]
    polling = await next_read()
    await client.post(f"/v1/jobs/{job}/cancel")
    assert b'"status":"canceled"' in (await polling)[1]
    status, body = await poll(app, secret, f"/v1/jobs/{job}?wait=60")
    assert (status, b'"status":"canceled"' in body) == (200, True)


async def test_a_long_poll_ends_with_its_wait(client):
    """After a second of real time the read is answered as it is."""
    job = await submit(client)
    held = await client.get(f"/v1/jobs/{job}?wait=1")
    assert held.json() == (await client.get(f"/v1/jobs/{job}")).json()


async def test_what_changed_since_the_last_read_is_told_at_once(client, worker, here):
    """With the `ETag` of the read before: between two polls nothing goes by unseen."""
    job = await submit(client, regions=["US"])
    first = await client.get(f"/v1/jobs/{job}")
    await worker.claim()
    seen = {"If-None-Match": f'W/"other", {first.headers["etag"]}'}
    async with asyncio.timeout(30):
        second = await client.get(f"/v1/jobs/{job}?wait=60", headers=seen)
    assert second.json()["job"]["status"] == "processing"
    assert second.headers["etag"] != first.headers["etag"]
    assert len(here.watchers) == 0
    seen = {"If-None-Match": second.headers["etag"]}
    same = await client.get(f"/v1/jobs/{job}?wait=1", headers=seen)
    assert (same.status_code, same.json()) == (200, second.json())


@pytest.mark.parametrize("wait", ["", "-1", "61", "1.5", "x", "1e1", "060"])
async def test_a_wait_is_whole_seconds_up_to_a_minute(client, wait):
    """Anything else is a fault of the request, with its place."""
    for job in (await submit(client), "x"):
        answer = await client.get(f"/v1/jobs/{job}", params={"wait": wait})
        assert answer.status_code == 400
        assert [fault["path"] for fault in answer.json()["error"]["details"]] == ["?wait"]


async def test_a_change_between_the_read_and_the_wait_is_not_lost(here, client, worker):
    """Who begins to watch with a version that is of the past is told at the next look."""
    job = await submit(client)
    parent = ids.read(job).parent
    async with here.pool.connection() as connection:
        before = (await watchers.versions(connection, [parent]))[parent]
    await worker.claim()
    (key,) = await (await worker.connection.execute("SELECT id FROM api_key")).fetchone()
    with here.jobs.watch(Job(key, parent), before) as watch:
        news = await watch.news(20)
    assert news is not None
    assert news.body.job.status == "processing"


async def test_the_snapshot_is_told_when_it_changes(app, client, secret, worker):
    """As it is, then at each change, and never for what moves by itself."""
    async with listening(app, secret, "/v1/async/status/stream") as stream:
        first = await stream.event()
        assert first.name == "snapshot"
        assert first.data["inflight"]["total"] == 0
        await submit(client)
        second = await stream.event()
        assert second.data["inflight"]["waiting"] == 2
        assert second.data.keys() == (await client.get("/v1/async/status")).json().keys()
        await worker.claim()
        assert (await stream.event()).data["processingTasks"] == 2
    path = "/v1/async/status/stream"
    async with listening(app, secret, path, last_event_id=second.id) as stream:
        third = await stream.event()
        assert third.data["processingTasks"] == 2
    assert len({first.id, second.id, third.id}) == 3


async def test_a_reconnect_to_an_unchanged_snapshot_is_told_nothing(app, here, secret):
    """With the id of the last one the stream is silent but for its heartbeat."""
    app.state["services"] = dataclasses.replace(here, heartbeat_seconds=1.0)
    path = "/v1/async/status/stream"
    async with listening(app, secret, path) as stream:
        last = await stream.event()
    async with listening(app, secret, path, last_event_id=last.id) as stream:
        await stream.heartbeat()
        assert stream.quiet()


async def test_a_silent_stream_says_that_it_is_there(app, here, client, secret):
    """A comment after each time of silence, and nothing else."""
    app.state["services"] = dataclasses.replace(here, heartbeat_seconds=0.05)
    job = await submit(client)
    async with listening(app, secret, f"/v1/jobs/{job}/events") as stream:
        await heard(stream, 3)
        for _ in range(3):
            await stream.heartbeat()


async def test_a_revoked_key_loses_its_streams(app, here, client, secret, connection):
    """At the next heartbeat after it is known."""
    app.state["services"] = dataclasses.replace(here, heartbeat_seconds=0.05)
    job = await submit(client)
    async with (
        listening(app, secret, f"/v1/jobs/{job}/events") as events,
        listening(app, secret, "/v1/async/status/stream") as snapshots,
    ):
        await connection.execute("UPDATE api_secret SET revoked_at = now()")
        assert len(await events.rest()) == 3
        assert len(await snapshots.rest()) == 1


async def test_a_revoked_key_is_told_nothing_more(app, here, client, secret, worker):
    """However much there is to tell: neither what its job does nor its snapshot."""
    app.state["services"] = dataclasses.replace(here, keys=Cached(seconds=0.0, largest=9))
    job = await submit(client)
    async with (
        listening(app, secret, f"/v1/jobs/{job}/events") as events,
        listening(app, secret, "/v1/async/status/stream") as snapshots,
    ):
        await heard(events, 3)
        await snapshots.event()
        await worker.connection.execute("UPDATE api_secret SET revoked_at = now()")
        await worker.claim()
        assert await events.rest() == []
        assert await snapshots.rest() == []


async def test_a_key_is_one_topic_whatever_it_was_at_the_opening(app, client, worker, issued):
    """Two secrets are one look, and a limit changed since is not changed back by who watches."""
    here = dataclasses.replace(app.state["services"], keys=Cached(seconds=0.0, largest=9))
    app.state["services"] = here
    (_, again) = await keys.rotate(worker.connection, issued.key, overlap_seconds=60)
    path = "/v1/async/status/stream"
    async with listening(app, issued.secret, path) as first, listening(app, again, path) as second:
        await first.event()
        await second.event()
        assert len(here.snapshots._watched) == 1
        lower = issued.key.limits._replace(requests_per_minute=60)
        await keys.set_limits(worker.connection, issued.key, lower)
        await submit(client)
        lot = here.rates.lot(await keys.authenticate(worker.connection, again))
        assert (await first.event()).data["requestRate"]["limit"] == 60
        await worker.claim()
        await first.event()
        assert lot.key_limit == 60


async def test_a_process_that_leaves_ends_its_streams_and_answers_who_waits(
    app, here, client, secret
):
    """Streams end as if nothing had happened, to go on elsewhere; later ones end at once."""
    job = await submit(client)
    path = f"/v1/jobs/{job}/events"
    async with (
        listening(app, secret, path) as events,
        listening(app, secret, "/v1/async/status/stream") as snapshots,
    ):
        polling = asyncio.create_task(poll(app, secret, f"/v1/jobs/{job}?wait=60"))
        await heard(events, 3)
        await snapshots.event()
        await eventually(lambda: so_many(here, 2))
        here.release()
        assert await events.event() is None
        assert await snapshots.event() is None
        assert (await polling)[0] == 200
    async with listening(app, secret, path) as events:
        assert len(await events.rest()) == 3


async def so_many(here, n: int) -> bool:
    return len(here.jobs) == n


async def test_a_stream_goes_on_at_another_process(app, settings, client, secret, worker):
    """An id of one application is good at another: nothing is kept of a stream but by its client.

    Alternately at each, cut after every event.
    """
    job = await submit(client)
    path = f"/v1/jobs/{job}/events"
    other = create_app(settings)
    told = []
    last = {}
    async with other.lifespan():
        fences = []
        for place, one in enumerate(itertools.islice(itertools.cycle((app, other)), 9)):
            if place == 3:
                fences = await worker.claim()
            if place == 6:
                await complete(worker, *fences)
            async with listening(one, secret, path, **last) as stream:
                event = await stream.event()
            told.append(short(event))
            last = {"last_event_id": event.id}
    states = ("queued", "processing", "completed")
    assert told == [
        (who, state, 1 if who == "parent" or state != "queued" else 0)
        for state in states
        for who in ("us", "gb", "parent")
    ]


SHUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def test_a_stream_outlives_its_database(app, client, secret, maintenance, worker):
    """While it is away there are heartbeats; what happened meanwhile is told when it is back."""
    app.state["services"] = dataclasses.replace(app.state["services"], heartbeat_seconds=0.05)
    job = await submit(client)
    fences = await worker.claim()
    name = await factories.scalar(worker.connection, "SELECT current_database()")
    door = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    async with listening(app, secret, f"/v1/jobs/{job}/events") as stream:
        await heard(stream, 3)
        maintenance.execute(door.format(sql.Identifier(name), sql.Literal(False)))  # noqa: FBT003
        await worker.connection.execute(SHUT)
        for _ in range(3):
            await stream.heartbeat()
        await complete(worker, *fences)
        maintenance.execute(door.format(sql.Identifier(name), sql.Literal(True)))  # noqa: FBT003
        assert [short(event) for event in await stream.rest()][-1] == ("parent", "completed", 1)


async def test_streams_of_a_key_tell_nothing_of_another(app, client, secret, issue, opened):
    """Neither the job, which it has not, nor any change of the other's snapshot."""
    job = await submit(client)
    stranger = (await issue()).secret
    async with listening(app, stranger, f"/v1/jobs/{job}/events") as stream:
        assert stream.status == 404
    async with listening(app, stranger, "/v1/async/status/stream") as stream:
        first = await stream.event()
        assert first.data["inflight"]["total"] == 0
        await submit(client)
        async with opened(stranger) as mine:
            await submit(mine)
        assert (await stream.event()).data["inflight"]["total"] == 2


async def test_a_child_has_no_events_of_its_own(client):
    """Events are a parent's."""
    job = await submit(client)
    assert (await client.get(f"/v1/jobs/{job}.chatgpt.us/events")).status_code == 404


async def test_all_who_watch_cost_one_look(app, here, client, secret, worker):
    """However many watch one job, it is looked at and read once; each is told everything."""
    job = await submit(client)
    looks = []
    look: Callable = here.jobs._look

    async def counting(seen, tell):
        looks.append(dict(seen))
        await look(seen, tell)

    here.jobs._look = counting
    path = f"/v1/jobs/{job}/events"
    async with AsyncExitStack() as exits:
        streams = [await exits.enter_async_context(listening(app, secret, path)) for _ in range(9)]
        for stream in streams:
            await heard(stream, 3)
        await eventually(lambda: one_topic(looks))
        await complete(worker, *await worker.claim())
        for stream in streams:
            assert short((await stream.rest())[-1]) == ("parent", "completed", 1)
    assert max(len(seen) for seen in looks) == 1


async def one_topic(looks) -> bool:
    return bool(looks)
