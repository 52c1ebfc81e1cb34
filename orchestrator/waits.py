"""Waits: requests of this process that are held until a parent ends.

A caller is woken by NOTIFY; a poll once a second makes up for any that is lost. Its place in the
sync budget is a row (`sync_wait`): whoever leaves deletes it, many in one transaction, and rows
this process does not know (their deletion was lost with the database) are swept away.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

import structlog
from psycopg_pool import AsyncConnectionPool

from admission.batches import Batcher, ClosedError
from orchestrator import listener, notify
from orchestrator.patience import DATABASE_AWAY
from orchestrator.store import waits

LARGEST_LEAVE = 500
SWEEP_SECONDS = 10.0
_log = structlog.get_logger()


class Wait:
    """One held request. `over` is done when its parent ended, or when it must go now.

    `stored` says that the parent was there: when it is not found any more it is gone.
    """

    __slots__ = ("id", "over", "parent", "stored")

    def __init__(self, parent: UUID) -> None:
        self.id = secrets.randbits(62)
        self.parent = parent
        self.stored = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        """Wake the request."""
        if not self.over.done():
            self.over.set_result(None)


class Waits:
    """The held requests of a process. `run` must be running; `node` says who this process is."""

    def __init__(self, pool: AsyncConnectionPool, *, node: Callable[[], int]) -> None:
        self._pool = pool
        self._node = node
        self._held: defaultdict[UUID, set[Wait]] = defaultdict(set)
        self._released = False
        self._look = asyncio.Event()
        self._closing = asyncio.Event()
        self._leaving: Batcher[int, None] = Batcher(self._leave, largest=LARGEST_LEAVE)

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))

    @property
    def released(self) -> bool:
        """Whether nobody waits here any more: this process is leaving."""
        return self._released

    def expect(self, parent: UUID) -> Wait:
        """Hold a request until this parent, which may not be stored yet, ends."""
        wait = Wait(parent)
        self._held[parent].add(wait)
        if self._released:
            wait.end()
        return wait

    def turn(self, wait: Wait, parent: UUID) -> None:
        """Have the request wait for another parent that is stored, and may have ended meanwhile."""
        self.drop(wait)
        wait.parent, wait.stored = parent, True
        self._held[parent].add(wait)
        self._look.set()

    def drop(self, wait: Wait) -> None:
        """Forget a request that has no row."""
        self._held[wait.parent].discard(wait)
        if not self._held[wait.parent]:
            del self._held[wait.parent]

    def leave(self, wait: Wait) -> asyncio.Future[None]:
        """Give the place back; awaiting says that it is free. The last to leave detaches."""
        self.drop(wait)
        try:
            left = self._leaving.put(wait.id)
        except ClosedError:  # the rows of a node that has left count for nothing
            left = asyncio.get_running_loop().create_future()
            left.set_result(None)
        left.add_done_callback(_seen)
        return left

    def release(self) -> None:
        """Wake every request, those to come too: this process is leaving."""
        self._released = True
        for held in self._held.values():
            _end(held)

    def heard(self, payload: str) -> None:
        """A notification: these parents ended, or '' when some did."""
        if not payload:
            self._look.set()
            return
        for name in payload.split(","):
            _end(self._held.get(UUID(hex=name), ()))

    async def run(self, url: str, options: dict[str, Any]) -> None:
        """Serve until closed; `url` and `options` are of the connection that listens."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._leaving.run())
            helping = [
                tasks.create_task(listener.listen(url, options, {notify.ENDED: self.heard})),
                tasks.create_task(self._poll()),
                tasks.create_task(self._sweep()),
            ]
            await self._closing.wait()
            for task in helping:
                task.cancel()

    def close(self) -> None:
        """Give back what was left so far, then let `run` return."""
        self._closing.set()
        self._leaving.close()

    async def _leave(self, ids: list[int]) -> Sequence[None]:
        async with self._pool.connection() as connection:
            await waits.leave(connection, ids)
        return [None] * len(ids)

    async def _poll(self) -> None:
        """Look for ends nobody told of: once a second, and at once after a reconnect."""
        while True:
            try:
                async with asyncio.timeout(notify.POLL_SECONDS):
                    await self._look.wait()
            except TimeoutError:
                pass
            self._look.clear()
            if self._held:
                await self._try(self._look_once)

    async def _look_once(self) -> None:
        stored = [parent for parent, held in self._held.items() if any(w.stored for w in held)]
        async with self._pool.connection() as connection:
            ended = await waits.ended(connection, stored)
        for parent in ended:
            _end(self._held.get(parent, ()))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self._try(self._sweep_once)

    async def _sweep_once(self) -> None:
        async with self._pool.connection() as connection:
            live = [wait.id for held in self._held.values() for wait in held]
            await waits.sweep(connection, self._node(), live)

    async def _try(self, work: Callable[[], Any]) -> None:
        try:
            await work()
        except DATABASE_AWAY as error:
            _log.warning("waits.unserved", error=type(error).__name__)


def _end(held: Iterable[Wait]) -> None:
    for wait in held:
        wait.end()


def _seen(left: asyncio.Future[None]) -> None:
    """A row that could not be deleted is swept later; its caller may be gone."""
    if not left.cancelled():
        left.exception()
