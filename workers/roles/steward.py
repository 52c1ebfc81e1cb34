"""The steward does what is due of itself: deadlines, what was asked of many, and tidies up."""

import time

import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from admission import reservations
from orchestrator import stewardship
from orchestrator.notify import POLL_SECONDS
from orchestrator.store import children, steering, strands
from workers.signals import Signal

MOST = 300
SHORTEST_SECONDS = 0.005
SWEEP_SECONDS = 60.0
_log = structlog.get_logger()


class Steward:
    """Sleeps until the next deadline, a second at most: each step is one bounded batch of each."""

    name = "steward"

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self.wake = Signal()
        self._pool = pool
        self._swept_at = time.monotonic()

    async def step(self) -> float:
        """One batch of overdue parents, one of a group's, one of a replay's."""
        async with self._pool.connection() as connection:
            expired = await steering.expire(connection, most=MOST)
            await reservations.forget_expired(connection)
            await self._sweep(connection)
        if expired.parents:
            _log.info("parents.expired", parents=expired.parents)
        acted = await stewardship.act(self._pool)
        replayed = await stewardship.replay(self._pool)
        if acted or replayed or expired.parents:
            return 0.0
        if expired.next_seconds is None:
            return POLL_SECONDS
        return max(SHORTEST_SECONDS, min(expired.next_seconds, POLL_SECONDS))

    async def _sweep(self, connection: AsyncConnection) -> None:
        """Now and then the strands that are empty, and turns long past."""
        if time.monotonic() - self._swept_at > SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            await strands.sweep(connection)
            await children.forget_turns(connection)
