"""A real database with the doors of two API processes and connections for everybody else.

It is called from synchronous code: one event loop that runs while it is asked for something.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from admission.keys import Issued, Key
from orchestrator import db, snapshot, stewardship
from orchestrator.domain.snapshot import Snapshot
from orchestrator.store import nodes, waits
from orchestrator.store.nodes import NewNode
from orchestrator.submission import Outcomes
from orchestrator.surfaces import SurfaceDescriptor
from tests.stateful import looking
from tests.stateful.checks import Seen
from tests.stateful.deciding import Asked
from tests.stateful.doors import Door
from tests.stateful.orders import Order
from tests.stateful.records import CallerRow
from tests.stateful.strategies import Asking, Batch, gathered, pick

P = ParamSpec("P")
T = TypeVar("T")

# Deleting is three times as fast as truncating, and keeps prepared plans; no trigger runs.
CLEAN = """
SET session_replication_role = replica;
DELETE FROM child; DELETE FROM parent; DELETE FROM node; DELETE FROM surface; DELETE FROM lane;
DELETE FROM lane_load; DELETE FROM inflight; DELETE FROM backlog; DELETE FROM usage;
DELETE FROM sync_wait; DELETE FROM rate_lot; DELETE FROM rate_bucket; DELETE FROM strand;
DELETE FROM parent_group; DELETE FROM group_usage; DELETE FROM group_action;
DELETE FROM reservation; DELETE FROM api_secret; DELETE FROM api_key;
DELETE FROM lane_pace; DELETE FROM lane_turn; DELETE FROM delivery;
SET session_replication_role = origin
"""
LATER = """
WITH buckets AS (UPDATE rate_bucket SET filled_at = filled_at - %(seconds)s)
UPDATE rate_lot SET leased_at = leased_at - %(seconds)s
"""
# However slow this run, a pause ends by a rule only.
PAUSE = """
UPDATE lane SET open_until = open_until + interval '24 hours'
WHERE open_until BETWEEN now() - interval '1 hour' AND now() + interval '1 hour'
"""
API = NewNode("test", 1, kind="api")


class World:
    """One database and its users. `open` and `close` bracket an example."""

    def __init__(self, url: str, runner: asyncio.Runner) -> None:
        self.url = url
        self.doors: list[Door] = []
        self._runner = runner
        self._apis = [db.pool(url, most=2, name=f"api-{n}") for n in (1, 2)]
        self._others = db.pool(url, most=6, name="others")
        self.beating = psycopg.connect(url, autocommit=True)
        self._seconds = 0.0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    async def on(
        self,
        work: Callable[Concatenate[AsyncConnection, P], Awaitable[T]],
        *args: P.args,
        **named: P.kwargs,
    ) -> T:
        """Call a function of the store on a connection and in a transaction of its own."""
        async with self._others.connection() as connection, connection.transaction():
            return await work(connection, *args, **named)

    async def bare(
        self,
        work: Callable[Concatenate[AsyncConnection, P], Awaitable[T]],
        *args: P.args,
        **named: P.kwargs,
    ) -> T:
        """The same in autocommit, for functions that open their own transaction."""
        async with self._others.connection() as connection:
            return await work(connection, *args, **named)

    def execute(self, statement: str, **values: Any) -> int:
        return self.beating.execute(statement, values).rowcount

    async def look(self) -> Seen:
        """Everything, as of one moment."""
        return await self.bare(looking.seen)

    async def open(self) -> None:
        """Empty the database and open both doors."""
        self.execute(CLEAN)
        self.doors = [
            Door(pool, await self.bare(nodes.register, API), self._clock) for pool in self._apis
        ]

    async def close(self) -> None:
        await gathered(door.close() for door in self.doors)

    async def ended(self) -> None:
        """Everything has ended."""

    async def reopen(self, door: int) -> None:
        """Another process takes the place of this one, which is dead; it had told what it spent."""
        await self.doors[door].spoken()
        await self.doors[door].die()
        node = await self.bare(nodes.register, API)
        self.doors[door] = Door(self._apis[door], node, self._clock)

    async def ask(
        self, keys: Sequence[Key], asking: Asking, surfaces: dict[str, SurfaceDescriptor]
    ) -> Asked:
        """Submit, through the door it names."""
        return await self.doors[asking.door].ask(pick(keys, asking.key), asking, surfaces)

    async def ask_all(
        self, keys: Sequence[Key], some: Sequence[Asking], surfaces: dict[str, SurfaceDescriptor]
    ) -> list[Asked]:
        """Submit all at the same moment."""
        return await gathered(self.ask(keys, one, surfaces) for one in some)

    async def batch(self, one: Batch, surfaces: dict[str, SurfaceDescriptor]) -> Outcomes:
        """Submit several in one."""
        return await self.doors[one.door].batch(one, surfaces)

    async def steer(self, order: Order) -> Any:
        """What whoever gives this order is told."""
        return await self.bare(order.carry_out)

    async def act(self) -> bool:
        """Carry on with what was asked of groups; whether there was anything to do."""
        return await stewardship.act(self._others)

    async def leave(self, callers: Sequence[int]) -> None:
        """These callers go together."""
        await self.bare(waits.leave, callers)

    async def still(
        self, waiting: Mapping[int, CallerRow], left: Iterable[int], ended: Iterable[UUID]
    ) -> dict[int, CallerRow]:
        """Who of those who waited still does, since these left and these parents ended."""
        gone = set(left)
        return {caller: row for caller, row in waiting.items() if caller not in gone}

    async def snapshot(self, door: int, key: Key) -> Snapshot:
        return await self.on(snapshot.take, key.id)

    def know(self, issued: Issued) -> None:
        """A new key."""

    def pause(self) -> None:
        """Breakers that have just opened stay so."""
        self.execute(PAUSE)

    async def later(self, seconds: float) -> None:
        """So long passes for the request rates at one moment, at which nobody speaks of them.

        What was said before it and answered after it would be of two times. So the loop stands
        still meanwhile.
        """
        while not all(door.silent for door in self.doors):
            await gathered(door.spoken() for door in self.doors)
        self._seconds += seconds
        self.execute(LATER, seconds=seconds)

    def _clock(self) -> float:
        return time.monotonic() + self._seconds

    async def begin(self) -> None:
        """Before the first example."""
        for pool in (*self._apis, self._others):
            await pool.open(wait=True)

    async def finish(self) -> None:
        """After the last."""
        self.beating.close()
        for pool in (*self._apis, self._others):
            await pool.close()


@contextmanager
def world(url: str, kind: type[World] = World, **named: Any) -> Iterator[World]:
    """A world on this database, its pools open."""
    with asyncio.Runner() as runner:
        made = kind(url, runner, **named)
        runner.run(made.begin())
        try:
            yield made
        finally:
            runner.run(made.finish())
