"""The book of this process: the lots of the keys it serves, one flush of leases in flight."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakValueDictionary

from psycopg_pool import AsyncConnectionPool

from admission import leases
from admission.batches import Batcher
from admission.keys import Key
from admission.lots import Lot
from admission.rate import Rate, Seen
from admission.refusals import Refusal, Taken

LARGEST_FLUSH = 500
SWEEP_SECONDS = 0.5


class Book:
    """Takes tokens for requests: at hand in ordinary use, else leased while the request waits.

    `node` is this process's number among the nodes, never used by another; it may raise, and what
    it or the database raises reaches the requests that wait. `run` must be running.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool,
        node: Callable[[], int],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._node = node
        self._clock = clock
        self._lots: WeakValueDictionary[int, Lot] = WeakValueDictionary()
        self._busy: dict[int, Lot] = {}
        self._asking: dict[int, asyncio.Future[None]] = {}
        self._batcher: Batcher[Lot, None] = Batcher(self._flush, largest=LARGEST_FLUSH)
        self._closing = asyncio.Event()

    def lot(self, key: Key) -> Lot:
        """The lot of a key; whoever holds it sees what happens to it."""
        lot = self._busy.get(key.id) or self._lots.get(key.id)
        if lot is None:
            lot = self._lots[key.id] = Lot(key.id, key.limits.requests_per_minute)
        lot.key_says(key.limits.requests_per_minute)
        return lot

    def try_take(self, lot: Lot) -> bool:
        """Take a token at hand, if there is one."""
        now = self._clock()
        if not lot.spend(now):
            return False
        if lot.low(now) and not self._closing.is_set():
            self._ask(lot)
        return True

    async def take(self, lot: Lot) -> bool:
        """Take a token; False when there is none."""
        while not self.try_take(lot):
            if lot.dry(self._clock()):
                return False
            lot.waiting += 1
            asked = self._ask(lot)
            await asyncio.wait([asked])  # unlike `await asked`: it always yields, and ends nothing
            asked.result()
        return True

    def refuse(self, lot: Lot, taken: Taken) -> Refusal:
        """The refusal of a request that found no token."""
        return lot.refuse(self._clock(), taken)

    def observe(self, lot: Lot, seen: Seen) -> Rate:
        """The rate of a key by what the database has just shown, less what was spent here since."""
        return lot.observe(seen, self._clock(), time.time())

    async def run(self) -> None:
        """Serve until closed, then give everything back."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._batcher.run())
            while not self._closing.is_set():
                self.sweep()
                with suppress(TimeoutError):
                    async with asyncio.timeout(SWEEP_SECONDS):
                        await self._closing.wait()
            await self._leave()
            self._batcher.close()

    def close(self) -> None:
        """Give back what is held, then let `run` return."""
        self._closing.set()

    def sweep(self) -> None:
        """Give back lots that idle, speak of those in use, drop those with nothing to remember."""
        now = self._clock()
        for lot in list(self._busy.values()):
            if lot.key_id in self._asking:
                continue
            if lot.unsaid(now):
                self._ask(lot)
            elif lot.resting(now):
                del self._busy[lot.key_id]

    async def _leave(self) -> None:
        for spent_too in (True, False):  # the second for what was in flight at the first
            for lot in self._busy.values():
                lot.leave()
                if lot.hand or (spent_too and lot.told):
                    self._ask(lot)
            if self._asking:
                await asyncio.wait(self._asking.values())

    def _ask(self, lot: Lot) -> asyncio.Future[None]:
        """Ask the database for this lot, unless that is under way.

        An ask that is answered and not yet forgotten is over: waiting for it would not let the loop
        turn, and a lease that came too late to be spent from would be waited for without end.
        """
        under_way = self._asking.get(lot.key_id)
        if under_way is not None and not under_way.done():
            return under_way
        asked = self._batcher.put(lot)
        self._asking[lot.key_id], self._busy[lot.key_id] = asked, lot

        def answered(future: asyncio.Future[None]) -> None:
            if self._asking.get(lot.key_id) is future:
                del self._asking[lot.key_id]
                lot.waiting = 0
            if not future.cancelled():
                future.exception()  # whoever waits gets it too; a lease for later has nobody

        asked.add_done_callback(answered)
        return asked

    async def _flush(self, lots: list[Lot]) -> list[None]:
        node = self._node()
        async with (
            self._pool.connection() as connection,
            connection.pipeline(),  # two round trips in all: BEGIN to the locked rows, the rest
            connection.transaction(),
        ):
            asked_at = self._clock()
            asks = {lot.key_id: lot.ask(asked_at) for lot in lots}
            answers = await leases.lease(connection, node, asks)
        now = self._clock()
        for lot in lots:
            lot.take_in(answers.get(lot.key_id), now)
        return [None] * len(lots)
