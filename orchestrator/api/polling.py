"""The long poll: a read of a parent that is held until there is something new to read."""

import asyncio
from uuid import UUID

from litestar.types import Receive

from admission.keys import Key
from orchestrator.api.looking import Job
from orchestrator.api.services import Services
from orchestrator.domain.documents import JobRead
from orchestrator.store import watchers
from orchestrator.watching import Watch


async def hold(
    here: Services, key: Key, parent: UUID, *, seconds: int, receive: Receive
) -> JobRead | None:
    """Wait until this parent changes, and say what it is like then.

    None when there is nothing to wait for: it is not there, it has ended or the key has all its
    places taken; when nothing has changed for so long; and when the caller left.
    """
    if not seconds:
        return None
    async with here.pool.connection() as connection:
        known = await watchers.versions(connection, [parent], key_id=key.id)
    version = known.get(parent)
    if version is None or version.ended:
        return None
    async with here.watchers.place(key.id) as placed:
        if not placed:
            return None
        with here.jobs.watch(Job(key.id, parent), version) as watch:
            return await _first(watch, seconds, receive)


async def _first(watch: Watch[JobRead], seconds: int, receive: Receive) -> JobRead | None:
    """The first news, unless the caller leaves before."""
    async with asyncio.TaskGroup() as tasks:
        leaving = tasks.create_task(_gone(receive))
        telling = tasks.create_task(watch.news(seconds))
        await asyncio.wait((telling, leaving), return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        telling.cancel()
    if telling.cancelled():
        return None
    news = telling.result()
    return news.body if news else None


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
