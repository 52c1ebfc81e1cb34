"""The deliverer tells webhooks what ended."""

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

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

LOOK = 500
"""Endpoints looked at in a step, of those attempted before and of the others."""
LARGEST_CLAIM = 200
LARGEST_CLAIM_BYTES = 32 * 1024 * 1024
"""Of captures as they are stored, in a claim of more than one."""
MOST_BYTES = 128 * 1024 * 1024
"""Of bodies under way, before nothing more is claimed."""
GATHER_SECONDS = 0.01
"""How long it waits for more places while there is something due, before it claims for a few."""
SHORTEST_SECONDS = 0.05


class _Walk:
    """Round and round the endpoints, so many at a look."""

    def __init__(self, *, again: bool) -> None:
        self._again = again
        self._after = deliveries.BEFORE_ALL
        self.nearest = POLL_SECONDS
        """Seconds to the next one due of those met on this round that were not."""

    @property
    def midway(self) -> bool:
        """True when a round has begun and not ended."""
        return self._after != deliveries.BEFORE_ALL

    @property
    def look(self) -> Look:
        """Which endpoints are next."""
        return Look(self._again, self._after, LOOK)

    def met(self, some: Sequence[Due]) -> list[Due]:
        """Those of them that have something due."""
        if not self.midway:
            self.nearest = POLL_SECONDS
        self._after = some[-1].endpoint if len(some) == LOOK else deliveries.BEFORE_ALL
        self.nearest = min([self.nearest, *(one.seconds for one in some if one.seconds > 0)])
        return [one for one in some if one.seconds <= 0]

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
        self._fresh, self._again = _Walk(again=False), _Walk(again=True)
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
        async with self._pool.connection() as connection:
            letters = await self._claim(connection)
        for letter in letters:
            self._start(letter)
        if letters or self._fresh.midway:
            return 0.0
        if self._again.midway:
            return SHORTEST_SECONDS
        return max(SHORTEST_SECONDS, min(self._fresh.nearest, self._again.nearest))

    async def _claim(self, connection: AsyncConnection) -> list[Letter]:
        """What a claim brings, ready to be sent; if it cannot be read nothing was claimed."""
        looks = [self._fresh.look, self._again.look]
        untried, tried = await deliveries.due(connection, looks)
        fresh, again = self._fresh.met(untried), self._again.met(tried)
        wishes = [Wish(one.endpoint, one.key_id) for one in (*fresh, *again)]
        random.shuffle(wishes)  # among equals none is always first
        self._more = bool(fresh or again)
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
