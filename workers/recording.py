"""Recording attempts at deliveries in batches: they gather while a flush is in flight."""

from collections.abc import Sequence

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool

from admission.batches import Batcher
from orchestrator.store import deliveries
from orchestrator.store.deliveries import Attempted
from workers import holding

LARGEST_FLUSH = 400
REFUSED = (psycopg.DataError, psycopg.IntegrityError)
"""What is the attempt's fault; whatever else the database raises passes."""
_log = structlog.get_logger()


class Recorder:
    """Takes attempts and records them, each once, through an outage too. `run` must be running."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._batcher: Batcher[Attempted, None] = Batcher(self._flush, largest=LARGEST_FLUSH)

    def put(self, attempted: Attempted) -> None:
        """Record this attempt, soon."""
        self._batcher.put(attempted)

    def close(self) -> None:
        """Record what is held, then let `run` return."""
        self._batcher.close()

    async def run(self) -> None:
        """Serve `put` until closed."""
        await self._batcher.run()

    async def _flush(self, attempts: list[Attempted]) -> Sequence[None]:
        await holding.recorded(lambda: self._record(attempts), what="delivery")
        return [None] * len(attempts)

    async def _record(self, attempts: Sequence[Attempted]) -> None:
        """One statement for all; one that cannot be stored must not hold up the others.

        What is not recorded is attempted again when its claim runs out.
        """
        try:
            async with self._pool.connection() as connection:
                held = await deliveries.record(connection, attempts)
        except REFUSED:
            _log.exception("delivery.refused", deliveries=len(attempts))
            if len(attempts) > 1:
                middle = len(attempts) // 2
                await self._record(attempts[:middle])
                await self._record(attempts[middle:])
        else:
            _log.debug("deliveries.recorded", deliveries=held, stale=len(attempts) - held)
