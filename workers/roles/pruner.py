"""The pruner deletes what ended longer ago than it is kept."""

import time
from collections import Counter

import structlog
from psycopg_pool import AsyncConnectionPool

from orchestrator.store import pruning, shared_calls
from workers.signals import Signal

REST_SECONDS = 60.0
BREATH = 2.0
"""After a batch, as a multiple of the time it took: two thirds of a core are for those who work."""
_log = structlog.get_logger()


class Pruner:
    """A bounded batch a step, then a breath; a minute's rest when nothing is due any more."""

    name = "pruner"

    def __init__(self, pool: AsyncConnectionPool, *, retention_seconds: float) -> None:
        self.wake = Signal()
        self._pool = pool
        self._retention_seconds = retention_seconds
        self._gone = Counter[str]()

    async def step(self) -> float:
        """One batch of parents with their children, of actions of groups, and of shared calls."""
        kept, began = self._retention_seconds, time.monotonic()
        async with self._pool.connection() as connection:
            pruned = await pruning.prune(connection, retention_seconds=kept)
            actions = await pruning.forget_actions(connection, retention_seconds=kept)
            calls = await shared_calls.forget(connection)
        self._gone.update(**pruned._asdict(), actions=actions, calls=calls)
        if pruned.parents or actions or calls:
            return BREATH * (time.monotonic() - began)
        if self._gone.total():
            _log.info("parents.pruned", **self._gone)
            self._gone.clear()
        return REST_SECONDS
