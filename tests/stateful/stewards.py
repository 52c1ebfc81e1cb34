"""The steering half of a client of `test_torture`: what users ask of jobs that were taken in."""

from typing import Any
from uuid import UUID

from orchestrator import stewardship
from orchestrator.store import delays, pruning, steering
from orchestrator.store.children import Fence
from orchestrator.store.steering import RETRYABLE, Canceled
from tests.stateful.callers import GROUPS, Callers, tell
from tests.stateful.ends import AGED, WEEK_SECONDS
from tests.stateful.orders import Cancel, Clear, Erase, OfGroup, Order, Retry

# Some parent of a key, of those that came lately: any of them, and old ones are many.
SOME = """
SELECT id, total, run FROM parent
WHERE key_id = %(key)s AND (finished_at IS NOT NULL) = %(ended)s
ORDER BY id DESC LIMIT 50
"""
RUN = "SELECT run FROM parent WHERE id = %(parent)s"


class Stewards(Callers):
    """Cancels, retries and erases whatever there is, and does what workers do of that."""

    async def _order(self, order: Order) -> Any:
        async with self._pool.connection() as connection:
            told = await order.carry_out(connection)
        tell(ordered=f"{type(order).__name__}: {type(told).__name__}")
        return told

    async def _some(self, key: int, *, ended: bool) -> list[tuple[UUID, int, int]]:
        """At most one, with its cells and its run."""
        async with self._pool.connection() as connection:
            found = await connection.execute(SOME, {"key": key, "ended": ended})
            known = await found.fetchall()
        return [self._random.choice(known)] if known else []

    async def _cancel(self) -> None:
        """And claim at once: nothing that was canceled starts, unless it was retried meanwhile."""
        key = self._random.choice(self._keys)
        for parent, total, run in await self._some(key.id, ended=self._random.random() < 0.1):
            ordinal = self._random.choice([None, None, self._random.randint(1, total)])
            if isinstance(await self._order(Cancel(key, parent, ordinal)), Canceled):
                started = {fence[:2] for fence in await self._claimed(20) if fence[0] == parent}
                wrong = started if ordinal is None else started & {(parent, ordinal)}
                if wrong and await self._run(parent) == run:
                    tell(error="started", parent=str(parent), run=run)

    async def _run(self, parent: UUID) -> int | None:
        async with self._pool.connection() as connection:
            row = await (await connection.execute(RUN, {"parent": parent})).fetchone()
        return row[0] if row else None

    async def _claimed(self, slots: int) -> list[Fence]:
        """What a claim of so many slots gives out."""
        raise NotImplementedError  # the process that is a steward too does

    async def _clear(self) -> None:
        await self._order(Clear(self._random.choice(self._keys)))

    async def _retry(self) -> None:
        key, ends = self._random.choice(self._keys), self._random.choice([RETRYABLE, ("failed",)])
        for parent, total, _ in await self._some(key.id, ended=True):
            ordinal = self._random.choice([None, None, self._random.randint(1, total)])
            await self._order(Retry(key, parent, ends, ordinal))

    async def _erase(self) -> None:
        key = self._random.choice(self._keys)
        for parent, *_ in await self._some(key.id, ended=True):
            tell(erased=str(parent))  # or not: it may be killed before
            await self._order(Erase(key, parent))

    async def _prune(self) -> None:
        """What ended so long ago, and perhaps somebody retries at this moment."""
        key = self._random.choice(self._keys)
        for parent, *_ in await self._some(key.id, ended=True):
            tell(erased=str(parent))  # or not, as above
            async with self._pool.connection() as connection:
                await connection.execute(AGED, {"parents": [parent]})
                kept = {"retention_seconds": WEEK_SECONDS}
                pruned = await pruning.prune(connection, **kept)
            tell(ordered=f"Prune: {type(pruned).__name__ if pruned.parents else None}")

    async def _ask_of_group(self) -> None:
        kind = self._random.choice(["cancel", "retry"])
        key, group = self._random.choice(self._keys), self._random.choice(GROUPS)
        await self._order(OfGroup(key, group, kind))

    async def _act(self) -> None:
        await stewardship.act(self._pool)

    async def _expire(self) -> None:
        async with self._pool.connection() as connection:
            await steering.expire(connection, most=self._random.choice([3, 300]))

    async def _release(self) -> None:
        async with self._pool.connection() as connection:
            await delays.release(connection)
