"""The client's preflight, batches, steering and streams against the real application."""

import asyncio
import json
from contextlib import aclosing

import httpx
import pytest

from orchestrator import stewardship
from orchestrator.client import ApiError, ChildSummary, Client, JobRead, ParentJob
from orchestrator.domain.documents import Envelope
from orchestrator.store import children
from orchestrator.store.children import Completed, Failed, GivenBack
from tests import factories
from tests.api.test_client_asks import Shaky
from tests.api.test_sync import CAPTURE, work
from tests.waiting import eventually
from tests.workers.database import pool_of

pytestmark = pytest.mark.anyio

BREAKS = "boots\u2028\u0085\u000b"


class Cutting(Shaky):
    """The application, whose first reply of events is cut off after so many bytes."""

    cut_after = 0

    async def handle_async_request(self, request):
        reply = await super().handle_async_request(request)
        if self.cut_after and request.url.path.endswith("/events"):
            part, self.cut_after = (await reply.aread())[: self.cut_after], 0
            return httpx.Response(200, headers=reply.headers, stream=_Cut(part))
        return reply


class _Cut(httpx.AsyncByteStream):
    def __init__(self, part: bytes) -> None:
        self.part = part

    async def __aiter__(self):
        yield self.part
        raise httpx.ReadError("connection reset")


@pytest.fixture
def connecting(app, registered, issue):
    """Makes a client of a new key, with this transport or one that loses so many replies."""

    async def make(lost=0, transport=None, **limits):
        secret = (await issue(**limits)).secret
        made = transport or Shaky(app, lost)
        return Client(url="http://parallax.test", key=secret, transport=made)

    return make


def items(n, **fields):
    return [{"query": f"shoes {i}", "surfaces": ["chatgpt"], **fields} for i in range(n)]


async def parents(connection):
    return await factories.scalar(connection, "SELECT count(*) FROM parent")


async def answer(worker, *, most=100):
    """Complete what can be claimed now."""
    fences = await worker.claim(most)
    await children.settle(worker.connection, [Completed(fence, CAPTURE, 200) for fence in fences])
    return fences


async def test_a_preflight_holds_places_that_submissions_draw_on(connecting, worker):
    """Looked at, reserved, drawn on one by one and in a batch, and the rest given back."""
    async with await connecting(queue_capacity=5) as client:
        look = await client.preflight(jobs=6, surfaces=["chatgpt"], regions=["US", "GB"])
        assert (look.admitted, look.binding, look.reservation) == (False, "admissionQueue", None)
        seen = await client.preflight(jobs=5, surfaces=["chatgpt"], reserve_seconds=60)
        held = seen.reservation.id
        with pytest.raises(ApiError, match="QUEUE_CAPACITY_EXCEEDED"):
            await client.submit("shoes", surfaces=["chatgpt"])
        await client.submit("shoes", surfaces=["chatgpt"], reservation=held)
        told = await client.submit_batch(items(2), reservation=held)
        assert [one.error for one in told] == [None, None]
        await client.release(held)
        queue = (await client.status()).admission_queue
        assert (queue.depth, queue.reserved) == (3, 0)


async def test_a_batch_is_all_or_nothing_when_asked_so(connecting, connection):
    """Each by itself, or one error for all with the place of every fault."""
    mixed = [*items(1), {"query": ""}]
    async with await connecting() as client:
        with pytest.raises(ApiError) as caught:
            await client.submit_batch(mixed, atomic=True)
        assert {fault.path[:8] for fault in caught.value.faults} == {"items[1]"}
        assert await parents(connection) == 0
        stored, refused = await client.submit_batch(mixed, idempotency_key="k")
        assert (refused.index, refused.job, refused.error.status) == (1, None, 400)
        assert stored.job.children == (f"{stored.job.id}.chatgpt.us",)
        again, _ = await client.submit_batch(mixed, idempotency_key="k")
        assert again.job.id == stored.job.id


async def test_a_run_that_broke_off_is_resumed_without_a_second_job(connecting, connection):
    """Lost replies, a caller who stopped midway and another size of batch: each item is one job."""
    async with await connecting(lost=1) as client:
        async with aclosing(client.submit_all(items(9), key="night", batch=2)) as run:
            first = [(await anext(run)).job.id for _ in range(5)]
        whole = [one async for one in client.submit_all(items(9), key="night", batch=4)]
    assert [one.index for one in whole] == list(range(9))
    assert [one.job.id for one in whole[:5]] == first
    assert await parents(connection) == len({one.job.id for one in whole}) == 9


async def test_an_item_that_names_no_key_has_the_runs(connecting, connection):
    """None says nothing, as in a single submission: the item is one job however often it runs."""
    async with await connecting() as client:
        some = items(2, idempotencyKey=None, priority=None)
        runs = [[one.job.id async for one in client.submit_all(some, key="k")] for _ in range(2)]
    assert runs[0] == runs[1]
    assert await parents(connection) == 2


async def test_a_run_waits_for_room_and_keeps_its_order(connecting, connection, worker):
    """More than the queue holds: what is refused comes again when there is room, under its key."""
    async with await connecting(queue_capacity=3) as client, asyncio.TaskGroup() as tasks:
        # The queue has emptied quickly so far, so whoever is refused may soon come again.
        await client.submit("first", surfaces=["chatgpt"])
        await connection.execute(
            "UPDATE usage SET drained = 3000, drained_at = extract(epoch FROM now()),"
            " drained_from = extract(epoch FROM now()) - 60"
        )

        async def submit_all():
            run = client.submit_all(items(5), key="night", group="night", batch=4)
            return [(one.index, one.error) async for one in run]

        async def drained():
            await answer(worker)
            return run.done()

        run = tasks.create_task(submit_all())
        await eventually(drained)
        assert run.result() == [(index, None) for index in range(5)]
        group = await client.group("night")
        assert sum(getattr(group.parents, name) for name in ("queued", "completed")) == 5


async def test_a_job_is_canceled_repeated_and_erased(connecting, worker):
    """A parent is answered with its read, a child with its Envelope, what is erased with None."""
    async with await connecting() as client:
        accepted = await client.submit("shoes", surfaces=["chatgpt"], regions=["US", "GB"])
        job, (american, british) = accepted.job_id, accepted.children
        child = await client.cancel(american)
        assert isinstance(child, Envelope)
        assert child.job.status == "canceled"
        (fence,) = await worker.claim()
        await children.settle(worker.connection, [Failed(fence, factories.FAILURE, 503)])
        with pytest.raises(ApiError, match="NOT_CANCELABLE"):
            await client.cancel(british)
        read = await client.retry(job, ["failed"])
        assert isinstance(read, JobRead)
        assert (read.job.run, read.job.counts.waiting, read.job.counts.canceled) == (2, 1, 1)
        live = await client.delete(job)
        assert isinstance(live, JobRead)
        assert live.job.status == "canceled"
        assert await client.delete(job) is None
        with pytest.raises(ApiError, match="JOB_NOT_FOUND"):
            await client.job(job)


async def test_the_child_of_an_ended_job_is_repeated_alone(connecting, worker):
    """With its Envelope, of the next run."""
    async with await connecting() as client:
        accepted = await client.submit("shoes", surfaces=["chatgpt"], regions=["US", "GB"])
        fences = await worker.claim()
        broken = [Failed(fence, factories.FAILURE, 503) for fence in fences]
        await children.settle(worker.connection, broken)
        child = await client.retry(accepted.children[1])
        assert isinstance(child, Envelope)
        assert (child.job.status, child.job.run) == ("queued", 2)
        counts = (await client.job(accepted.job_id)).job.counts
        assert (counts.waiting, counts.failed) == (1, 1)


async def test_a_queue_is_cleared(connecting):
    """It says of how many."""
    async with await connecting() as client:
        _ = [one async for one in client.submit_all(items(3), key="k")]
        assert await client.clear_queue() == 3
        assert {job.status async for job in client.jobs()} == {"canceled"}


async def test_jobs_are_listed_by_what_they_are(connecting):
    """Newest first; filters are those of the API."""
    async with await connecting() as client:
        mixed = [*items(2, group="g"), *items(1, metadata={"k": "v"}), *items(1, regions=["GB"])]
        made = [one.job.id async for one in client.submit_all(mixed, key="k")]

        async def found(**filters):
            return [job.id async for job in client.jobs(**filters)]

        assert await found() == made[::-1]
        assert await found(group="g", status="queued") == made[1::-1]
        assert await found(metadata={"k": "v"}) == [made[2]]
        assert await found(surface="chatgpt", region="GB") == [made[3]]
        assert await found(surface="site") == []


async def test_a_group_is_canceled_repeated_and_read(connecting, worker, database):
    """How many are meant at once, the counts as it is done, and everything it found."""
    capture = json.dumps(json.loads(CAPTURE) | {"answer": {"text": BREAKS}}, ensure_ascii=False)
    async with await connecting() as client, pool_of(database) as pool:
        _ = [one async for one in client.submit_all(items(3, group="g"), key="k")]
        running = await worker.claim(slots=1)
        assert await client.cancel_group("g") == 3
        while await stewardship.act(pool):
            pass
        await children.settle(worker.connection, [GivenBack(fence) for fence in running])
        assert (await client.group("g")).parents.canceled == 3
        assert await client.retry_group("g", ["failed"]) == 0
        assert await client.retry_group("g") == 3
        while await stewardship.act(pool):
            pass
        fences = await worker.claim()
        done = [Completed(fence, capture, 200) for fence in fences]
        await children.settle(worker.connection, done)
        assert (await client.group("g")).cells.completed == 3
        found = [one async for one in client.group_results("g")]
    assert [one.job.query for one in found] == [f"shoes {i}" for i in range(3)]
    assert {one.answer.text for one in found} == {BREAKS}


async def test_a_group_nobody_made_is_an_error(connecting):
    """NOT_FOUND, streamed or not."""
    async with await connecting() as client:
        with pytest.raises(ApiError, match="NOT_FOUND"):
            await client.group("g")
        with pytest.raises(ApiError, match="NOT_FOUND"):
            _ = [one async for one in client.group_results("g")]


async def test_the_events_of_a_job_come_until_it_has_ended(connecting, worker):
    """Each as the record a read of it would have; the last is the ended parent."""
    async with await connecting() as client:
        job = (await client.submit("shoes", surfaces=["chatgpt", "site"])).job_id

        async def listen():
            return [one async for one in client.events(job)]

        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(listen())
            await work(worker)
        told = listening.result()
        read = await client.job(job)
    latest = {one.id: one for one in told if isinstance(one, ChildSummary)}
    assert list(latest.values()) == list(read.children)
    assert isinstance(told[-1], ParentJob)
    assert told[-1] == read.job


@pytest.mark.parametrize("share", [0.0, 0.4, 0.7])
async def test_events_that_are_cut_off_go_on_where_they_were(connecting, app, worker, share):
    """Wherever the connection was lost, every event is told once."""
    transport = Cutting(app, 0)
    async with await connecting(transport=transport) as client:
        job = (await client.submit("shoes", surfaces=["chatgpt", "site"])).job_id
        await answer(worker)
        body = await client.get(f"/v1/jobs/{job}/events")
        whole = [one.id async for one in client.events(job)]
        transport.cut_after = 1 + int(len(body) * share)
        assert [one.id async for one in client.events(job)] == whole
        assert transport.cut_after == 0
        assert len(whole) == len(set(whole)) == 3
