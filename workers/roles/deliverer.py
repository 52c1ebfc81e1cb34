"""The deliverer tells webhooks what ended."""

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from orchestrator.notify import POLL_SECONDS
from orchestrator.store import deliveries
from orchestrator.store.deliveries import Due, Look, Order
from workers import delivering
from workers.endpoints import Endpoints, Wish
from workers.letters import Letter, Letters
from workers.outgoing import Outgoing
from workers.recording import Recorder
from workers.signals import Signal

LOOK = 5_000
"""Endpoints looked at in a step, of those attempted before and of the others: most wait long."""
MOST_DUE = 500
"""Of either that have something due, before the look ends."""
LARGEST_CLAIM = 200
LARGEST_CLAIM_BYTES = 32 * 1024 * 1024
"""Of captures as they are stored, in a claim of more than one."""
MOST_BYTES = 128 * 1024 * 1024
"""Of bodies under way, before nothing more is claimed."""
GATHER_SECONDS = 0.01
"""How long it waits for more places while there is something due, before it claims for a few."""
SHORTEST_SECONDS = 0.05
REST = 2
"""Of the time that looks at those attempted before may take: a third. Many of them wait long."""


class _Walk:
    """Round and round the endpoints, so many at a look.

    After each look it rests `rest` times as long as that took.
    """

    def __init__(self, *, again: bool, rest: int) -> None:
        self._again = again
        self._rest = rest
        self._after = deliveries.BEFORE_ALL
        self._rested_at = 0.0
        self.due = False
        """Whether the last look met something due."""
        self.nearest = POLL_SECONDS
        """Seconds to the next one due of those met on this round that were not."""

    @property
    def midway(self) -> bool:
        """True when a round has begun and not ended."""
        return self._after != deliveries.BEFORE_ALL

    @property
    def rests(self) -> float:
        """For how many seconds more; 0 when the next look may come."""
        return max(0.0, self._rested_at - time.monotonic())

    async def look(self, connection: AsyncConnection) -> list[Due]:
        """Who of the next endpoints has something due."""
        if not self.midway:
            self.nearest = POLL_SECONDS
        began = time.monotonic()
        met = await deliveries.due(connection, Look(self._again, self._after, LOOK, MOST_DUE))
        now = time.monotonic()
        self._rested_at = now + self._rest * (now - began)
        self._after = deliveries.BEFORE_ALL if met.reached is None else met.reached
        self.nearest = min(self.nearest, met.seconds or self.nearest)
        self.due = bool(met.due)
        return met.due

    def orders(self, met: Iterable[Due], places: Counter[int]) -> list[Order]:
        """What to claim for those of these endpoints that have places."""
        return [
            Order(one.endpoint, self._again, places[one.endpoint])
            for one in met
            if places[one.endpoint]
        ]


class Deliverer:
    """Claims what is due, for endpoints that may have more under way, and sends it.

    `tasks` runs what is sent; `may_start` says whether this node is alive; `seconds` is how long
    an attempt may take.
    """

    name = "deliverer"

    def __init__(
        self,
        pool: AsyncConnectionPool,
        *,
        letters: Letters,
        outgoing: Outgoing,
        recorder: Recorder,
        tasks: asyncio.TaskGroup,
        may_start: Callable[[], bool],
        endpoints: Endpoints | None = None,
        seconds: float = delivering.SECONDS,
    ) -> None:
        self.wake = Signal()
        self._pool = pool
        self._letters = letters
        self._outgoing = outgoing
        self._recorder = recorder
        self._tasks = tasks
        self._may_start = may_start
        self._endpoints = endpoints or Endpoints()
        self._seconds = seconds
        self._fresh, self._again = _Walk(again=False, rest=0), _Walk(again=True, rest=REST)
        self._sending: set[asyncio.Task[None]] = set()
        self._bytes = 0
        self._more = False

    @property
    def running(self) -> int:
        """Deliveries under way."""
        return len(self._sending)

    def give_up(self) -> None:
        """Interrupt what is under way; it is due again when its claim runs out."""
        for task in self._sending:
            task.cancel()

    async def step(self) -> float:
        """One look at some endpoints, one claim for those that have places.

        What is due and has no place is looked at again when a delivery ends.
        """
        if self._more:
            await asyncio.sleep(GATHER_SECONDS)
        if not self._endpoints.free or self._bytes >= MOST_BYTES or not self._may_start():
            return POLL_SECONDS
        passed = self._again.rests > 0
        async with self._pool.connection() as connection:
            fresh = await self._fresh.look(connection)
            again = [] if passed else await self._again.look(connection)
            self._more = self._fresh.due or self._again.due
            letters = await self._claim(connection, fresh, again)
        for letter in letters:
            self._start(letter)
        if letters or self._fresh.midway:
            return 0.0
        old = self._again.rests if passed or self._again.midway else self._again.nearest
        return max(SHORTEST_SECONDS, min(self._fresh.nearest, old))

    async def _claim(
        self, connection: AsyncConnection, fresh: list[Due], again: list[Due]
    ) -> list[Letter]:
        """What a claim brings, ready to be sent; if it cannot be read nothing was claimed."""
        wishes = [Wish(one.endpoint, one.key_id) for one in (*fresh, *again)]
        random.shuffle(wishes)  # among equals none is always first
        places = Counter(dict(self._endpoints.allot(wishes, most=LARGEST_CLAIM)))
        old = _share(places, {one.endpoint for one in again}, {one.endpoint for one in fresh})
        orders = [*self._fresh.orders(fresh, places - old), *self._again.orders(again, old)]
        async with connection.transaction():
            claimed = await deliveries.claim(
                connection, orders, token=secrets.randbits(62), most_bytes=LARGEST_CLAIM_BYTES
            )
            return await self._letters.write(connection, claimed)

    def _start(self, letter: Letter) -> None:
        self._bytes += len(letter.body)
        self._endpoints.began(letter.claimed.endpoint, letter.claimed.key_id)
        task = self._tasks.create_task(self._send(letter), name="delivery")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, letter: Letter) -> None:
        acknowledged: bool | None = None
        try:
            attempted, acknowledged = await delivering.attempt(
                letter, self._outgoing, seconds=self._seconds
            )
            self._recorder.put(attempted)
        finally:
            self._bytes -= len(letter.body)
            self._endpoints.ended(letter.claimed.endpoint, acknowledged=acknowledged)
            if self._more:
                self.wake.set()


def _share(places: Counter[int], again: set[int], fresh: set[int]) -> Counter[int]:
    """The places for what was attempted before: all of an endpoint's, or half of both kinds.

    The odd one goes to either by chance.
    """
    return Counter(
        {
            endpoint: (places[endpoint] + random.getrandbits(1)) // 2
            if endpoint in fresh
            else places[endpoint]
            for endpoint in again
        }
    )
