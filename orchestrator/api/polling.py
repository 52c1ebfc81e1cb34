"""The long poll: a read of a parent that is held until there is something new to read."""

import asyncio
from uuid import UUID

from litestar.types import Receive

from admission.keys import Key
from orchestrator.api import leaving, reading
from orchestrator.api.looking import Job
from orchestrator.api.services import Services
from orchestrator.domain import events
from orchestrator.domain.documents import JobRead
from orchestrator.store import watchers
from orchestrator.watching import Watch


async def read(
    here: Services, key: Key, parent: UUID, *, seconds: int, known: str, receive: Receive
) -> JobRead | None:
    """A parent as it is, or as it is once it has changed; None: the key has no such parent.

    `known` are the tags (`If-None-Match`) of what the caller has read before: what has changed
    since is told at once. Nor is anything waited for when it has ended or the key has all its
    places taken; and what has not changed for so long is told as it is then.
    """
    async with here.reading() as connection:
        found = await reading.job(connection, key_id=key.id, parent=parent)
        if found is None or not seconds or events.ended(found):
            return found
        version = (await watchers.versions(connection, [parent]))[parent]
    if known and tag(found, parent) not in known:
        return found
    async with here.watchers.place(key.id) as placed:
        if not placed:
            return found
        with here.jobs.watch(Job(key.id, parent), version) as watch:
            told, gone = await _first(watch, seconds, receive)
    if gone:
        return found  # which nobody reads
    return told or await read(here, key, parent, seconds=0, known="", receive=receive)


def tag(found: JobRead, parent: UUID) -> str:
    """What stands for the statuses and attempts of a read: the id of the event that told them."""
    return f'W/"{events.text(events.of(found), parent)}"'


async def _first(
    watch: Watch[JobRead], seconds: int, receive: Receive
) -> tuple[JobRead | None, bool]:
    """The first news there is, and whether the caller has left."""
    async with asyncio.TaskGroup() as tasks:
        hanging_up = tasks.create_task(leaving.left(receive))
        telling = tasks.create_task(watch.news(seconds))
        await asyncio.wait((telling, hanging_up), return_when=asyncio.FIRST_COMPLETED)
        gone = hanging_up.done()
        hanging_up.cancel()
        telling.cancel()
    news = None if telling.cancelled() else telling.result()
    return news and news.body, gone
