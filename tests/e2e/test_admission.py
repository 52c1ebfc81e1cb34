"""64 callers at two API processes, and an observer who sees every commit."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from admission.limits import Limits
from orchestrator.domain import ids
from tests.e2e import observing, processes
from tests.e2e.calling import Answer, Caller
from tests.e2e.observing import Taken
from tests.e2e.processes import Server
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

CONFIGURATION = """
[surfaces.quick]
adapter = "simulator"
[surfaces.quick.options]
latency_ms = [1, 20]

[surfaces.slow]
adapter = "simulator"
[surfaces.slow.options]
latency_ms = [200, 500]
"""
LIMITS = {
    "wide": Limits(requests_per_minute=10**6, queue_capacity=200, sync_limit=8, concurrency=20),
    "narrow": Limits(requests_per_minute=10**6, queue_capacity=3, sync_limit=1, concurrency=1),
    "sync": Limits(requests_per_minute=10**6, queue_capacity=1, sync_limit=4, concurrency=2),
    "async": Limits(requests_per_minute=10**6, queue_capacity=20, sync_limit=2, concurrency=4),
}
CALLERS = 16
"""Of each key."""
TURNS = 24
LOOK_SECONDS = 0.02
HANG_UP_SECONDS = 0.03
LIVE = "SELECT FROM parent WHERE state IN ('queued', 'processing')"
ENDED = """
SELECT p.id, p.state, p.done = p.total, c.attempt
FROM parent p JOIN child c ON c.parent_id = p.id
"""


@pytest.fixture(scope="module")
async def server(anyio_backend, tmp_path_factory) -> AsyncIterator[Server]:
    """Two API processes and a worker; without a preference a sync call waits for 0.2 s."""
    made = processes.configured(tmp_path_factory.mktemp("admission"), CONFIGURATION)
    made.environment["PARALLAX_SYNC_WAIT"] = "0.2"
    async with made.up("--api", "2", "--workers", "1"):
        yield made


class Book:
    """What was answered: how often each job was said to be new, and how often anything was said."""

    def __init__(self) -> None:
        self.new: Counter[str] = Counter()
        self.jobs: set[str] = set()
        self.statuses: Counter[int] = Counter()

    def note(self, answer: Answer) -> Answer:
        self.statuses[answer.status] += 1
        if answer.job is not None:
            job = answer.job.partition(".")[0]
            self.jobs.add(job)
            self.new[job] += not answer.replayed
        return answer


async def test_no_limit_is_exceeded_at_any_commit(server):
    """Async, sync, replays, hang-ups: whatever comes when, each limit holds and is made use of.

    What clients were told was admitted is what there is; all of it ends, once; no counter is off.
    """
    secrets = {name: await server.key(name, **limits._asdict()) for name, limits in LIMITS.items()}
    done, book = asyncio.Event(), Book()
    async with server.connected() as connection:
        await observing.observe(connection)
    looking = asyncio.create_task(look_on(server, done))
    await asyncio.gather(
        *(call(server, secret, n, book) for secret in secrets.values() for n in range(CALLERS))
    )
    done.set()
    assert await looking > 0
    assert set(book.statuses) == {200, 202, 429, 504}
    async with server.connected() as connection:
        most = await observing.most(connection)
    for taken in most.values():
        within(taken)
    assert most.keys() == LIMITS.keys()
    narrow = most["narrow"]
    assert (narrow.depth, narrow.running, narrow.asynchronous) == (3, 1, 1)
    assert narrow.unfinished == 2
    await all_ended(server, book)


def within(taken: Taken) -> None:
    limits = LIMITS[taken.name]
    assert taken.depth <= limits.queue_capacity, taken
    assert taken.running <= limits.sync_limit, taken
    assert taken.unfinished <= 2 * limits.sync_limit, taken
    assert taken.processing <= limits.concurrency + limits.sync_limit, taken
    assert taken.asynchronous <= limits.concurrency, taken


async def look_on(server: Server, done: asyncio.Event) -> int:
    """Look from outside again and again; how often."""
    looks = 0
    async with server.connected() as connection:
        while not done.is_set():
            for taken in await observing.look(connection):
                within(taken)
            looks += 1
            await asyncio.sleep(LOOK_SECONDS)
    return looks


async def call(server: Server, secret: str, number: int, book: Book) -> None:
    """One caller's turns, each of another kind than its neighbour's."""
    kinds = (fresh, replayed, waiting, preferring, shared, leaving)
    async with Caller(server.url, secret) as caller:
        for turn in range(TURNS):
            kind = kinds[(number + turn) % len(kinds)]
            await kind(caller, book, f"{number} {turn}", turn)


async def fresh(caller: Caller, book: Book, name: str, turn: int) -> None:
    """A submission like any other."""
    book.note(await caller.ask(name, "slow"))


async def replayed(caller: Caller, book: Book, name: str, turn: int) -> None:
    """A submission and its replay: the same job, or refused until it is admitted."""
    first = book.note(await caller.ask(name, "quick", key=name))
    again = book.note(await caller.ask(name, "quick", key=name))
    if first.job is not None:
        assert (again.job, again.replayed) == (first.job, True), (first, again)


async def waiting(caller: Caller, book: Book, name: str, turn: int) -> None:
    """A call that waits a fifth of a second: too short for a slow surface."""
    book.note(await caller.ask(name, ("quick", "slow")[turn % 2], path="/v1/search?mode=sync"))


async def preferring(caller: Caller, book: Book, name: str, turn: int) -> None:
    """A call that waits a second if it must."""
    book.note(await caller.ask(name, "slow", prefer="wait=1"))


async def shared(caller: Caller, book: Book, name: str, turn: int) -> None:
    """The same submission from several callers of a key, in the mode of each."""
    prefer = (None, "wait=1")[int(name.partition(" ")[0]) % 2]
    book.note(await caller.ask(f"shared {turn}", "quick", key=f"shared {turn}", prefer=prefer))


async def leaving(caller: Caller, book: Book, name: str, turn: int) -> None:
    """A caller who hangs up and asks again until it knows its job."""
    try:
        async with asyncio.timeout(HANG_UP_SECONDS):
            book.note(await caller.ask(name, "slow", key=name, prefer="wait=5"))
    except TimeoutError:

        async def told() -> bool:
            return book.note(await caller.ask(name, "slow", key=name)).job is not None

        await eventually(told, seconds=60)


async def all_ended(server: Server, book: Book) -> None:
    """Each job anybody was told of is there, was new once, and ended by one attempt; no others."""

    async def quiet() -> bool:
        return await server.rows(LIVE) == []

    await eventually(quiet, seconds=60)
    ended = await server.rows(ENDED)
    assert {ids.text(row[0]) for row in ended} == book.jobs
    assert {row[1:] for row in ended} == {("completed", True, 1)}
    assert max(book.new.values()) == 1
    assert await server.rows("SELECT FROM sync_wait") == []
    assert await server.differences() == []
    assert server.faults() == []
