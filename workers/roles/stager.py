"""The stager readies what is due: children between attempts, parents with a delay."""

from collections.abc import Callable

from psycopg_pool import AsyncConnectionPool

from orchestrator.notify import POLL_SECONDS
from orchestrator.store import children, delays
from workers.signals import Signal

MOST = 300
SHORTEST_SECONDS = 0.005


class Stager:
    """Sleeps until the next is due, a second at most: another process may have added one.

    `ready` and `released` are told of children and of parents.
    """

    name = "stager"

    def __init__(
        self,
        pool: AsyncConnectionPool,
        *,
        ready: Callable[[], None],
        released: Callable[[], None],
    ) -> None:
        self.wake = Signal()
        self._pool = pool
        self._ready = ready
        self._released = released

    async def step(self) -> float:
        """Stage what is due."""
        async with self._pool.connection() as connection:
            staged = await children.stage(connection, most=MOST)
            delayed = await delays.release(connection, most=MOST)
        if staged.children:
            self._ready()
        if delayed.parents:
            self._released()
        if MOST in {staged.children, delayed.parents}:
            return 0.0
        nearest = [s.next_seconds for s in (staged, delayed) if s.next_seconds is not None]
        return max(SHORTEST_SECONDS, min([POLL_SECONDS, *nearest]))
