"""The one door: nothing holds a place that did not come through here."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from admission import usage
from admission.batches import Batcher
from admission.demand import Demand
from admission.policy import decide
from admission.refusals import Admitted, Refusal

Entry = TypeVar("Entry")
Decision = Admitted | Refusal
LARGEST_FLUSH = 500


class Gate(Generic[Entry]):
    """Admits entries, many callers to a transaction.

    `record` stores the admitted entries on the connection it is given; it must not commit. The
    transaction is durable before any caller hears of it. `run` must be running.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool,
        record: Callable[[AsyncConnection, Sequence[Entry]], Awaitable[None]],
    ) -> None:
        self._pool = pool
        self._record = record
        self._batcher: Batcher[tuple[Demand, Entry], Decision] = Batcher(
            self._flush, largest=LARGEST_FLUSH
        )

    def admit(self, demand: Demand, entry: Entry) -> asyncio.Future[Decision]:
        """Ask for the demand's places; awaiting gives the decision, stored when it is a yes."""
        return self._batcher.put((demand, entry))

    async def run(self) -> None:
        """Serve `admit` until closed."""
        await self._batcher.run()

    def close(self) -> None:
        """Decide what was asked so far, then let `run` return."""
        self._batcher.close()

    async def _flush(self, asked: list[tuple[Demand, Entry]]) -> list[Decision]:
        async with (
            self._pool.connection() as connection,
            connection.pipeline(),  # two round trips in all: BEGIN and the lock, the rest
            connection.transaction(),
        ):
            locked = await usage.lock(connection, (demand.key_id for demand, _ in asked))
            decisions = []
            for demand, _ in asked:
                decision = decide(demand, locked[demand.key_id])
                decisions.append(decision)
                if isinstance(decision, Admitted):
                    now = locked[demand.key_id]
                    locked[demand.key_id] = now._replace(depth=decision.depth)
            entries = [
                entry
                for (_, entry), decision in zip(asked, decisions, strict=True)
                if isinstance(decision, Admitted)
            ]
            if entries:
                await self._record(connection, entries)
        return decisions
