"""The interrupter stops what runs here and was told to stop."""

from collections.abc import Callable, Sequence

import structlog
from psycopg_pool import AsyncConnectionPool

from orchestrator.notify import POLL_SECONDS
from orchestrator.store import children
from orchestrator.store.children import Fence
from workers.signals import Signal

_log = structlog.get_logger()


class Interrupter:
    """Looks when it is told, and once a second: a child that is to stop is interrupted in two.

    `interrupt` ends those of the captures that run; how many it did.
    """

    name = "interrupter"

    def __init__(
        self,
        pool: AsyncConnectionPool,
        *,
        node: int,
        interrupt: Callable[[Sequence[Fence]], int],
    ) -> None:
        self.wake = Signal()
        self._pool = pool
        self._node = node
        self._interrupt = interrupt

    async def step(self) -> float:
        """Interrupt what was told to stop since the last look."""
        async with self._pool.connection() as connection:
            told = await children.stopped(connection, self._node)
        if told and (interrupted := self._interrupt(told)):
            _log.info("children.interrupted", children=interrupted)
        return POLL_SECONDS
