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
    """Looks once a second, while it is known well enough who lives (`nodes.steady`).

    After an outage of the database, or when its clock was set, every heartbeat is old: whoever
    judged at once would bury the living.
    """

    name = "rescuer"

    def __init__(
        self,
        pool: AsyncConnectionPool,
        *,
        node: int,
        ready: Callable[[], None],
    ) -> None:
        self.wake = Signal()
        self._pool = pool
        self._node = node
        self._ready = ready

    async def step(self) -> float:
        """Rescue one batch of children and one of callers' places."""
        async with self._pool.connection() as connection:
            async with connection.transaction():
                if not await nodes.steady(connection, self._node):
                    return LOOK_SECONDS
                if cut_off := await nodes.cut_off_dead(connection):
                    _log.warning("sessions.cut_off", sessions=cut_off)
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
