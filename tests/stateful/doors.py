"""A door: what an API process has of admission, without HTTP."""

import asyncio
import secrets
from collections.abc import Callable

from psycopg_pool import AsyncConnectionPool

from admission.book import Book
from admission.keys import Key
from admission.refusals import Taken
from orchestrator import submission
from orchestrator.store.parents import Caller
from orchestrator.submission import Outcomes, Submitter
from orchestrator.surfaces import SurfaceDescriptor
from tests.stateful.deciding import Asked
from tests.stateful.strategies import Asking, Batch, gathered


class Door:
    """A submitter and a book of rates, running, and the node they are of."""

    def __init__(self, pool: AsyncConnectionPool, node: int, clock: Callable[[], float]) -> None:
        self.node = node
        self._submitter = Submitter(pool)
        self._book = Book(pool, lambda: node, clock=clock)
        self._tasks = [
            asyncio.create_task(run) for run in (self._submitter.run(), self._book.run())
        ]

    async def ask(self, key: Key, asking: Asking, surfaces: dict[str, SurfaceDescriptor]) -> Asked:
        caller = Caller(secrets.randbits(62), self.node) if asking.sync else None
        asked = submission.new(asking.plan, idempotency_key=asking.name, caller=caller)
        told = await self._submitter.submit(key, asked, surfaces)
        return Asked(key, asking.plan, asking.name, caller, told)

    async def batch(self, one: Batch, surfaces: dict[str, SurfaceDescriptor]) -> Outcomes:
        """What each of a batch, or all of it, is told."""
        asked = [submission.new(item.plan, idempotency_key=item.name) for item in one.items]
        named = {"whole": one.whole, "reservation": one.reservation}
        return await self._submitter.submit_all(one.key, asked, surfaces, **named)

    async def knock(self, key: Key, times: int) -> int:
        """How many of so many requests at the same moment find a token."""
        lot = self._book.lot(key)
        return sum(await gathered(self._book.take(lot) for _ in range(times)))

    @property
    def silent(self) -> bool:
        """True while it does not speak of its lots."""
        return not self._book._asking

    async def spoken(self) -> None:
        """Return once the database knows of every lot that was spent."""
        while asking := list(self._book._asking.values()):
            await asyncio.wait(asking)

    def patience(self, key: Key) -> int:
        """Seconds a refused request is told to wait."""
        return self._book.refuse(self._book.lot(key), Taken(0, 0, 0)).retry_after_seconds

    async def close(self) -> None:
        self._submitter.close()
        self._book.close()
        await gathered(self._tasks)

    async def die(self) -> None:
        """Nothing is given back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
