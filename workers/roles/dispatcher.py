"""The dispatcher lets parents leave their queues."""

from collections.abc import Callable

import structlog
from psycopg_pool import AsyncConnectionPool

from orchestrator.fanout import fan_out
from orchestrator.notify import POLL_SECONDS
from workers.signals import Signal

PARENTS = 50
_log = structlog.get_logger()


class Dispatcher:
    """Fans out while there is room, then waits to be told of parents or of room."""

    name = "dispatcher"

    def __init__(self, pool: AsyncConnectionPool, *, born: Callable[[], None]) -> None:
        self.wake = Signal()
        self._pool = pool
        self._born = born

    async def step(self) -> float:
        """One round of fan-out."""
        async with self._pool.connection() as connection:
            children = await fan_out(connection, parents=PARENTS)
        if not children:
            return POLL_SECONDS
        _log.debug("parents.fanned_out", children=children)
        self._born()
        return 0.0
