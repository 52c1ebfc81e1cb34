"""Watching over HTTP: the events of a parent, and the snapshot as it changes.

An event's id says all that was seen up to it, so that whoever comes back with `Last-Event-ID`, to
this process or another, before or after a restart, goes on where they were.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import UUID

from litestar import Request, get
from litestar.types import ASGIApp, Receive, Scope, Send

from admission.keys import Key
from orchestrator.api import auth, problems, reading, services, sse
from orchestrator.api.looking import Job
from orchestrator.api.problems import Problem
from orchestrator.api.replies import NOTHING
from orchestrator.api.services import Services
from orchestrator.api.stamps import header
from orchestrator.domain import events, ids
from orchestrator.domain.documents import JobRead
from orchestrator.domain.events import Seen
from orchestrator.domain.ids import ParentId
from orchestrator.patience import DATABASE_AWAY
from orchestrator.store import watchers
from orchestrator.store.watchers import Version
from orchestrator.watchers import MOST

AnyRequest = Request[Any, Any, Any]
CROWDED_SECONDS = 15


class _Found(NamedTuple):
    """A parent as it is read, and the version that is of."""

    read: JobRead
    version: Version


class _Streamed:
    """A stream that opens when there is a place for it; `places` False: it is about to end."""

    def __init__(self, told: AsyncGenerator[bytes], *, places: bool = True) -> None:
        self._told = told
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._places:
            await sse.send_all(self._told, receive, send)
            return
        async with services.of(scope).watchers.place(scope["auth"].id) as placed:
            if placed:
                await sse.send_all(self._told, receive, send)
                return
        await self._told.aclose()
        await problems.reply(_crowded(), scope)(scope, receive, send)


@get("/v1/jobs/{job:str}/events")
async def job_events(request: AnyRequest) -> ASGIApp:
    """A parent and its children as they are, then as they change, until the parent has ended."""
    scope = request.scope
    here, key = services.of(scope), scope["auth"]
    job = ids.read(scope["path_params"]["job"])
    found = await _find(here, key, job.parent) if isinstance(job, ParentId) else None
    if not isinstance(job, ParentId) or found is None:
        return problems.reply(problems.job_not_found(), scope)
    cells, ended = len(found.read.children), events.ended(found.read)
    seen = events.read(_last_event(scope), job.parent, cells) or events.nothing(cells)
    if ended and seen == events.of(found.read):
        return NOTHING
    return _Streamed(_events(scope, job.parent, found, seen), places=not ended)


async def _find(here: Services, key: Key, parent: UUID) -> _Found | None:
    async with here.reading() as connection:
        read = await reading.job(connection, key_id=key.id, parent=parent)
        if read is None:
            return None
        known = await watchers.versions(connection, [parent])
    return _Found(read, known[parent])


async def _events(scope: Scope, parent: UUID, found: _Found, seen: Seen) -> AsyncGenerator[bytes]:
    """Holds no read while it waits, only what was seen."""
    here, teller = services.of(scope), _Teller(parent, seen)
    for part in teller.tell(found.read):
        yield part
    topic, version = Job(scope["auth"].id, parent), found.version
    del found
    with here.jobs.watch(topic, version) as watch:
        while not teller.ended:
            news = await watch.news(here.heartbeat_seconds)
            if watch.over or not await _welcome(scope):
                return
            if news is None:
                yield sse.HEARTBEAT
            elif news.body is None:
                return
            else:
                for part in teller.tell(news.body):
                    yield part
            del news


class _Teller:
    """Tells one client of a parent what they have not seen."""

    def __init__(self, parent: UUID, seen: Seen) -> None:
        self._parent = parent
        self._seen = seen
        self.ended = False

    def tell(self, read: JobRead) -> Iterator[bytes]:
        """The events of what is new in this read."""
        for event in events.since(self._seen, read, self._parent):
            yield sse.event(event.name, event.data, event.id)
        self._seen, self.ended = events.of(read), events.ended(read)


@get("/v1/async/status/stream")
async def status_stream(request: AnyRequest) -> ASGIApp:
    """The snapshot of the key, whenever something in it has changed."""
    return _Streamed(_snapshots(request.scope))


async def _snapshots(scope: Scope) -> AsyncGenerator[bytes]:
    here = services.of(scope)
    lot = here.rates.lot(scope["auth"])
    with here.snapshots.watch(lot, _last_event(scope)) as watch:
        while True:
            news = await watch.news(here.heartbeat_seconds)
            if watch.over or not await _welcome(scope):
                return
            if news is None or news.body is None:
                yield sse.HEARTBEAT
            else:
                yield sse.encoded("snapshot", news.body, str(news.version))


async def _welcome(scope: Scope) -> bool:
    """Whether the key still opens the door; while nobody can say it does."""
    with suppress(*DATABASE_AWAY):
        return not isinstance(await auth.identify(scope), Problem)
    return True


def _last_event(scope: Scope) -> str:
    return (header(scope, b"last-event-id") or b"").decode("latin-1")


def _crowded() -> Problem:
    """A stream beyond those a key may have open."""
    message = (
        f"This API key has {MOST} streams and long polls open, which is all it may have:"
        " close one, or read without waiting."
    )
    return problems.unavailable(message, seconds=CROWDED_SECONDS)
