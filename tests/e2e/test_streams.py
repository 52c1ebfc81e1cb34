"""Streams over real sockets and processes: whoever is cut off goes on and misses nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import aiohttp
import pytest

from tests.e2e import processes
from tests.e2e.calling import Caller
from tests.e2e.processes import Server
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

COUNTRIES = ("US", "GB", "FR", "DE")


@pytest.fixture(scope="module")
async def server(upstream, tmp_path_factory) -> AsyncIterator[Server]:
    """Each test has a key and a query of its own."""
    made = processes.furnished(tmp_path_factory.mktemp("streams"), upstream.url)
    async with made.up("--workers", "1"):
        yield made


class Change(NamedTuple):
    """What an event told: of whom, and what they are now."""

    who: str
    status: str
    times: int


class Follower:
    """Follows a job over whatever is cut off; it goes on with the id of the last event."""

    def __init__(self, secret: str, job: str, url: Callable[[], str]) -> None:
        self.told: list[Change] = []
        self.connections = 0
        self._headers = {"Authorization": f"Bearer {secret}"}
        self._path = f"/v1/jobs/{job}/events"
        self._url = url
        self._news = asyncio.Condition()

    async def follow(self, *, each: int = 1000) -> int:
        """Until the server says that all was told; connects anew after `each` events."""
        last: dict[str, str] = {}
        async with aiohttp.ClientSession() as http:
            while True:
                self.connections += 1
                try:
                    headers = self._headers | last
                    async with http.get(self._url() + self._path, headers=headers) as said:
                        if said.status != 200:
                            return said.status
                        await self._listen(said, last, each)
                except aiohttp.ClientError:
                    continue

    async def _listen(self, said: aiohttp.ClientResponse, last: dict[str, str], each: int) -> None:
        """One connection; an event that came in part did not come."""
        fields: dict[str, str] = {}
        async for line in said.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
                continue
            if "id" in fields:
                last["Last-Event-ID"] = fields["id"]
                await self._tell(fields["event"], json.loads(fields["data"]))
                each -= 1
            fields = {}
            if not each:
                return

    async def _tell(self, name: str, data: dict[str, Any]) -> None:
        who = "parent" if name == "parent" else data["region"]
        change = Change(who, data["status"], data["run" if name == "parent" else "attempts"])
        async with self._news:
            self.told.append(change)
            self._news.notify_all()

    async def until(self, state: str) -> None:
        """Wait until every child and the parent were told to be like that."""
        async with asyncio.timeout(processes.PATIENCE_SECONDS), self._news:
            await self._news.wait_for(
                lambda: (
                    {change.who for change in self.told if change.status == state}
                    == {"parent", *COUNTRIES}
                )
            )

    def of(self, who: str) -> list[tuple[str, int]]:
        """What was told of one, in order."""
        return [(change.status, change.times) for change in self.told if change.who == who]


async def submitted(caller: Caller, query: str) -> str:
    body = {"query": query, "surfaces": ["site"], "regions": list(COUNTRIES)}
    async with caller._http.post("/v1/search", json=body) as said:
        return (await said.json())["jobId"]


async def test_every_change_is_told_once_over_kills_and_reconnects(server, upstream):
    """One client stays with a process that is killed, one changes between two after every event.

    Each is told every change of every child and of the parent once, in order, and at last that
    there is nothing more.
    """
    query = "held while watched"
    secret = await server.key("watching")
    async with Caller(server.url, secret) as caller, server.another() as (url, _):
        job = await submitted(caller, query)
        staying = Follower(secret, job, lambda: server.url)
        other = Follower(secret, job, lambda: (server.url, url)[other.connections % 2])
        following = [
            asyncio.create_task(staying.follow()),
            asyncio.create_task(other.follow(each=1)),
        ]
        await upstream.asked(query, len(COUNTRIES))
        for follower in (staying, other):
            await follower.until("processing")
        await server.kill("api-1")
        await upstream.release(query)
        assert await asyncio.gather(*following) == [204, 204]
    for follower in (staying, other):
        for country in COUNTRIES:
            # They may have been told before their parent was fanned out, or not.
            assert follower.of(country)[-2:] == [("processing", 1), ("completed", 1)]
            assert follower.of(country)[:-2] in ([], [("queued", 0)])
        told = follower.of("parent")
        assert told[-2:] == [("processing", 1), ("completed", 1)]
        assert len(told) == len(set(told))
        assert follower.told[-1].who == "parent"
    assert staying.connections >= 2
    assert other.connections > len(COUNTRIES) * 2
    assert server.faults() == []


async def test_a_process_that_is_told_to_stop_ends_its_streams(server, upstream):
    """Streams end whole, a long poll is answered; the job is watched on at the other process."""
    query = "held while one stops"
    secret = await server.key("stopping")
    async with Caller(server.url, secret) as caller:
        job = await submitted(caller, query)
        await upstream.asked(query, len(COUNTRIES))
        async with server.another() as (url, second), Caller(url, secret) as there:
            polling = asyncio.create_task(polled(there, job))
            async with (
                aiohttp.ClientSession(url, headers=there._headers) as http,
                http.get(f"/v1/jobs/{job}/events") as events,
                http.get("/v1/async/status/stream") as snapshots,
            ):
                assert b"event: child" in await events.content.readline()
                assert b"event: snapshot" in await snapshots.content.readline()
                await watched(server, "stopping", 3)
                second.terminate()
                assert (await events.read()).endswith(b"\n\n")
                assert (await snapshots.read()).endswith(b"\n\n")
            assert (await polling)["job"]["status"] == "processing"
            assert await second.wait() == 0
        await watched(server, "stopping", 0)
        following = Follower(secret, job, lambda: server.url)
        task = asyncio.create_task(following.follow())
        await following.until("processing")
        await upstream.release(query)
        assert await task == 204
    assert server.faults() == []


async def polled(caller: Caller, job: str) -> dict[str, Any]:
    async with caller._http.get(f"/v1/jobs/{job}?wait=60") as said:
        assert said.status == 200
        return await said.json()


WATCHERS = """
SELECT coalesce(sum(w.n), 0)::int FROM watcher w JOIN api_key k ON k.id = w.key_id
WHERE k.name = %(name)s
"""


async def watched(server: Server, name: str, n: int) -> None:
    """Return once so many streams and long polls of this key are open."""

    async def so_many() -> bool:
        return await server.rows(WATCHERS, name=name) == [(n,)]

    await eventually(so_many)
