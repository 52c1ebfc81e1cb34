"""Reads of one job, as it is and as it changes."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus

import anyio
import httpx

from orchestrator.client import paths
from orchestrator.client.connection import Connection, decoded
from orchestrator.client.errors import ApiError
from orchestrator.client.lines import Events, ServerEvent
from orchestrator.client.pace import AGAIN, Patience, pause
from orchestrator.domain.documents import ChildSummary, Envelope, JobRead, ParentJob

LIVE = frozenset({"queued", "processing"})
BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
SILENT = httpx.Timeout(30.0, read=45.0)
"""Seconds: a stream that says nothing at all, not even that it is there every 15 s, is lost."""
KINDS: dict[str, type[ChildSummary | ParentJob]] = {"child": ChildSummary, "parent": ParentJob}


class Watching(Connection):
    """The methods of a client that look at one job."""

    async def job(self, job: str) -> JobRead:
        """A parent and its children."""
        return await self.typed(JobRead, "GET", paths.job(job))

    async def envelope(self, child: str) -> Envelope:
        """The Envelope of one child, in whatever state it is."""
        return await self.typed(Envelope, "GET", paths.job(child))

    async def watch(self, job: str) -> AsyncIterator[JobRead]:
        """The parent as it is now, then each change of it; the last one is the ended parent.

        Polls at a sane pace, and waits as long as the server asks when it is busy.
        """
        seen: JobRead | None = None
        seconds = 0.0
        while True:
            try:
                read = await self.job(job)
            except ApiError as error:
                if error.status not in BUSY or error.retry_after is None:
                    raise
                await anyio.sleep(error.retry_after)
                continue
            changed = read != seen
            if changed:
                yield read
            if read.job.status not in LIVE:
                return
            seen, seconds = read, pause(seconds, changed=changed)
            await anyio.sleep(seconds)

    async def wait(self, job: str) -> JobRead:
        """The parent once it has ended."""
        async for read in self.watch(job):
            ended = read
        return ended

    async def events(
        self, job: str, *, patience: float = 300.0
    ) -> AsyncGenerator[ChildSummary | ParentJob]:
        """Every child and the parent as they are, then each that changes; the last is the end.

        One stream instead of many reads, of which a key may have 100 open. Where it is cut off it
        goes on at the same place: no change is told twice, and none that lasts is missed. To leave
        before the end, leave an `aclosing(client.events(job))`. `ApiError` when the server is away
        for `patience` seconds.
        """
        place = _Place(patience)
        while not place.over:
            async with aclosing(self._heard(job, place)) as heard:
                async for told in heard:
                    yield told

    async def _heard(self, job: str, place: "_Place") -> AsyncGenerator[ChildSummary | ParentJob]:
        """What one connection tells, from this place on; it may end anywhere."""
        path, events = paths.job(job, "/events"), Events()
        stream = self.stream("GET", path, headers=place.headers, timeout=SILENT)
        async with place.patiently(), stream as response:
            place.over = response.status_code == HTTPStatus.NO_CONTENT
            async for part in response.aiter_bytes():
                for told in place.told(response, events.feed(part)):
                    yield told


class _Place:
    """How far a stream has been heard: the id of its last event, and whether it was the end."""

    def __init__(self, patience: float) -> None:
        self._last = ""
        self._patience = Patience(patience, time.monotonic())
        self.over = False

    @property
    def headers(self) -> dict[str, str]:
        """What to come back with."""
        return {"Last-Event-ID": self._last} if self._last else {}

    def told(
        self, response: httpx.Response, events: Iterable[ServerEvent]
    ) -> Iterator[ChildSummary | ParentJob]:
        """What these events tell; those of a kind nobody knows yet are passed by."""
        self._patience.heard(time.monotonic())
        for event in events:
            if kind := KINDS.get(event.name):
                told = decoded(kind, response, event.data)
                self._last = event.id
                self.over = isinstance(told, ParentJob) and told.status not in LIVE
                yield told

    @asynccontextmanager
    async def patiently(self) -> AsyncGenerator[None]:
        """A connection that ends early costs a rest; `ApiError` when trying again helps nobody."""
        rest = AGAIN
        try:
            yield
        except ApiError as error:
            rest = self._patience.rest(error, time.monotonic())
        if not self.over:
            await anyio.sleep(rest)
