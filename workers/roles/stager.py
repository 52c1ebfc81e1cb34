"""The stager makes children ready again whose pause between attempts is over."""

from collections.abc import Callable

from psycopg_pool import AsyncConnectionPool

from orchestrator.notify import POLL_SECONDS
from orchestrator.store import children
from workers.signals import Signal

MOST = 300
SHORTEST_SECONDS = 0.005


class Stager:
    """Sleeps until the next child is due, a second at most: another worker may have added one."""

    name = "stager"

    def __init__(self, pool: AsyncConnectionPool, *, ready: Callable[[], None]) -> None:
        self.wake = Signal()
        self._pool = pool
        self._ready = ready

    async def step(self) -> float:
        """Stage what is due."""
        async with self._pool.connection() as connection:
            staged = await children.stage(connection, most=MOST)
        if staged.children:
            self._ready()
        if staged.children == MOST:
            return 0.0
        if staged.next_seconds is None:
            return POLL_SECONDS
        return max(SHORTEST_SECONDS, min(staged.next_seconds, POLL_SECONDS))
