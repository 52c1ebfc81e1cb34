"""Watchers: the streams and long polls this process holds open, within the cap of their key.

What this process has is known here; its rows say so to the others and are made to agree again
when that failed once.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import structlog
from psycopg_pool import AsyncConnectionPool

from admission.batches import Batcher, ClosedError
from orchestrator.patience import DATABASE_AWAY
from orchestrator.store import watchers

MOST = 100
"""Open streams and long polls of a key, over all processes."""
LARGEST_FLUSH = 500
AGREE_SECONDS = 10.0
_log = structlog.get_logger()


class _Change(NamedTuple):
    key_id: int
    by: int


class Watchers:
    """Those of a process. `run` must be running; `node` says who this process is."""

    def __init__(self, pool: AsyncConnectionPool, *, node: Callable[[], int]) -> None:
        self._pool = pool
        self._node = node
        self._mine: Counter[int] = Counter()
        self._doubtful: set[int] = set()
        self._closing = asyncio.Event()
        self._changes: Batcher[_Change, bool] = Batcher(self._flush, largest=LARGEST_FLUSH)

    def __len__(self) -> int:
        return self._mine.total()

    @asynccontextmanager
    async def place(self, key_id: int) -> AsyncIterator[bool]:
        """Hold one of the key's places for the length of a block; False when all are taken."""
        if not await self._take(key_id):
            yield False
            return
        try:
            yield True
        finally:
            self._give(key_id)

    async def _take(self, key_id: int) -> bool:
        taking = self._changes.put(_Change(key_id, 1))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(lambda taken: self._give_back(key_id, taken))
            raise

    def _give_back(self, key_id: int, taken: asyncio.Future[bool]) -> None:
        """Whoever asked for the place has left before it was there."""
        if not taken.cancelled() and taken.exception() is None and taken.result():
            self._give(key_id)

    def _give(self, key_id: int) -> None:
        self._mine[key_id] -= 1
        self._doubtful.add(key_id)
        try:
            self._changes.put(_Change(key_id, 0)).add_done_callback(_seen)
        except ClosedError:
            return  # the rows of a node that has left count for nothing

    async def run(self) -> None:
        """Serve until closed."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._changes.run())
            agreeing = tasks.create_task(self._agree())
            await self._closing.wait()
            agreeing.cancel()

    def close(self) -> None:
        """Say what was given back so far, then let `run` return."""
        self._closing.set()
        self._changes.close()

    async def _flush(self, changes: list[_Change]) -> Sequence[bool]:
        keys = {change.key_id for change in changes}
        self._doubtful |= keys  # until it is stored
        async with self._pool.connection() as connection, connection.transaction():
            others = await watchers.hold(connection, self._node(), sorted(keys))
            room = {key: MOST - others.get(key, 0) - self._mine[key] for key in keys}
            done = [_apply(change, room) for change in changes]
            taken = Counter(c.key_id for c, took in zip(changes, done, strict=True) if took)
            counts = {key: self._mine[key] + taken[key] for key in keys}
            await watchers.write(connection, self._node(), counts)
        self._doubtful -= keys
        self._mine += taken
        return done

    async def _agree(self) -> None:
        """Make the rows agree: a flush may have failed, or a rescuer thought this node dead."""
        while True:
            await asyncio.sleep(AGREE_SECONDS)
            keys = self._doubtful | set(self._mine)
            try:
                await asyncio.gather(*(self._changes.put(_Change(key, 0)) for key in keys))
            except ClosedError:
                return
            except DATABASE_AWAY as error:
                _log.warning("watchers.unserved", error=type(error).__name__)


def _apply(change: _Change, room: dict[int, int]) -> bool:
    """Whether a place was taken."""
    if change.by == 0 or room[change.key_id] <= 0:
        return False
    room[change.key_id] -= 1
    return True


def _seen(said: asyncio.Future[bool]) -> None:
    """What could not be said is said later."""
    if not said.cancelled():
        said.exception()
