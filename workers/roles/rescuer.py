"""The rescuer takes back what dead nodes held: children, places of callers and of watchers."""

from collections.abc import Callable

import structlog
from psycopg_pool import AsyncConnectionPool

from admission import leases
from orchestrator.store import children, nodes, waits, watchers
from workers.signals import Signal

LOOK_SECONDS = 1.0
MOST = 300
_log = structlog.get_logger()


class Rescuer:
    """Looks once a second, while its own node is steady enough to judge others.

    After an outage of the database every heartbeat is old: whoever judged at once would bury the
    living.
    """

    name = "rescuer"

    def __init__(
        self, pool: AsyncConnectionPool, *, steady: Callable[[], bool], ready: Callable[[], None]
    ) -> None:
        self.wake = Signal()
        self._pool = pool
        self._steady = steady
        self._ready = ready

    async def step(self) -> float:
        """Rescue one batch of children and one of callers' places."""
        if not self._steady():
            return LOOK_SECONDS
        async with self._pool.connection() as connection:
            async with connection.transaction():
                rescued = await children.rescue(connection, most=MOST)
            forgotten = await waits.forget_dead(connection, most=MOST)
            await leases.forget_dead(connection)
            await watchers.forget_dead(connection)
            buried = await nodes.bury(connection)
        if forgotten:
            _log.warning("callers.forgotten", callers=forgotten)
        if buried:
            _log.warning("nodes.buried", nodes=buried)
        if not (rescued.queued or rescued.failed or rescued.stopped):
            return 0.0 if forgotten == MOST else LOOK_SECONDS
        _log.warning(
            "children.rescued",
            queued=rescued.queued,
            failed=rescued.failed,
            stopped=rescued.stopped,
        )
        self._ready()
        return 0.0
