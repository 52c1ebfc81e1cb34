"""Settling in batches: outcomes gather while a flush is in flight, and wait out an outage."""

from collections.abc import Callable, Sequence

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool

from admission.batches import Batcher
from orchestrator.domain.envelope import Failure
from orchestrator.store import children
from orchestrator.store.children import Completed, Failed, Outcome, Retry
from workers import holding
from workers.holding import PASSING

LARGEST_FLUSH = 400
MOST_CHARACTERS = 64 * 1024 * 1024
"""Of captures in one statement; PostgreSQL cuts the connection at a message of 1 GiB."""
REFUSED = (psycopg.DataError, psycopg.errors.ProgramLimitExceeded, UnicodeError)
"""What is the outcome's fault, as is all that the database does not raise; the rest passes."""
MOST_HELD = 5_000
MOST_HELD_CHARACTERS = 64 * 1024 * 1024
"""Outcomes held, at most, and characters of their captures, before this worker starts nothing."""

_log = structlog.get_logger()


class Settler:
    """Takes outcomes and records them, each once. `run` must be running.

    `settled` is called after each flush, with True when some child will be tried again.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool,
        settled: Callable[[bool], None],
        *,
        most_characters: int = MOST_CHARACTERS,
        most_held: int = MOST_HELD_CHARACTERS,
    ) -> None:
        self._pool = pool
        self._most_characters = most_characters
        self._most_held = most_held
        self._held = 0
        self._settled = settled
        self._batcher: Batcher[Outcome, None] = Batcher(self._flush, largest=LARGEST_FLUSH)

    @property
    def full(self) -> bool:
        """True when so much is held that nothing new should be started."""
        return len(self._batcher) >= MOST_HELD or self._held >= self._most_held

    def put(self, outcome: Outcome) -> None:
        """Record this outcome, soon."""
        self._batcher.put(outcome)
        self._held += _size(outcome)

    def close(self) -> None:
        """Record what is held, then let `run` return."""
        self._batcher.close()

    async def run(self) -> None:
        """Serve `put` until closed."""
        await self._batcher.run()

    async def _flush(self, outcomes: list[Outcome]) -> Sequence[None]:
        await holding.recorded(lambda: self._settle(outcomes), what="settle")
        self._held -= sum(map(_size, outcomes))
        self._settled(any(isinstance(outcome, Retry) for outcome in outcomes))
        return [None] * len(outcomes)

    async def _settle(self, outcomes: Sequence[Outcome]) -> None:
        """One statement for all; an outcome that cannot be stored must not hold up the others."""
        if len(outcomes) > 1 and sum(map(_size, outcomes)) > self._most_characters:
            await self._settle_halves(outcomes)
            return
        try:
            async with self._pool.connection() as connection:
                settled = await children.settle(connection, outcomes)
        except Exception as error:
            if isinstance(error, PASSING) and not isinstance(error, REFUSED):
                raise
            _log.exception("settle.refused", outcomes=len(outcomes))
            if len(outcomes) > 1:
                await self._settle_halves(outcomes)
            else:
                await self._give_up(outcomes[0], error)
        else:
            _log.debug(
                "children.settled",
                children=settled.children,
                stale=len(outcomes) - settled.children,
                parents_ended=len(settled.parents),
            )

    async def _settle_halves(self, outcomes: Sequence[Outcome]) -> None:
        middle = len(outcomes) // 2
        await self._settle(outcomes[:middle])
        await self._settle(outcomes[middle:])

    async def _give_up(self, outcome: Outcome, error: Exception) -> None:
        failure = Failure(
            code="BAD_RESPONSE",
            message=f"the capture could not be stored ({type(error).__name__})",
            retryable=False,
        )
        async with self._pool.connection() as connection:
            await children.settle(connection, [Failed(outcome.fence, failure)])


def _size(outcome: Outcome) -> int:
    return len(outcome.capture) if isinstance(outcome, Completed) else 0
