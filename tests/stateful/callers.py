"""The API half of a client of `test_torture`: submissions, replays, callers who leave."""

import asyncio
import json
import os
import random
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from admission.budget import Unaffordable
from admission.keys import Key
from admission.refusals import Refusal
from orchestrator import snapshot, submission
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region
from orchestrator.store import waits
from orchestrator.store.parents import Caller
from orchestrator.submission import Accepted, Conflict, Submitter
from orchestrator.surfaces import SurfaceDescriptor
from tests.stateful import snapshots

COUNTRIES = ("US", "GB", "DE")
GROUPS = ("early", "late")
NAMES = 40
"""Idempotency keys a key of ours uses, each mostly for one request."""
PRICE = 3
"""Credits of a cell that shows something."""
LONG_AGO = """
UPDATE sync_wait SET since = now() - interval '11 seconds' WHERE node = %(node)s
"""


class Callers:
    """An API process without HTTP. Deeds come one after the other, so it knows who waits."""

    def __init__(self, pool: AsyncConnectionPool, seed: int) -> None:
        self._pool = pool
        self._random = random.Random(seed)
        self._submitter = Submitter(pool)
        self._keys: list[Key] = []
        self._surfaces: dict[str, SurfaceDescriptor] = {}
        self._api = 0
        self._waiting: list[int] = []

    async def _attempt(self, deed: Callable[[], Awaitable[None]]) -> None:
        try:
            await deed()
        except (psycopg.Error, PoolTimeout) as error:
            state = getattr(error, "sqlstate", None)  # None: the connection is gone
            if state is not None and not isinstance(error, psycopg.errors.AdminShutdown):
                tell(error=state, deed=deed.__name__, why=str(error)[:300])
        else:
            tell(did=deed.__name__)

    async def _submit(self) -> None:
        some = range(self._random.randint(1, 8))
        await asyncio.gather(*(self._attempt(self._submit_one) for _ in some))

    async def _submit_one(self) -> None:
        key = self._random.choice(self._keys)
        name = f"n{self._random.randrange(NAMES)}" if self._random.random() < 0.3 else None
        usual = self._random.random() < 0.9
        plan = self._plan(random.Random(name) if name and usual else self._random)
        caller = Caller(secrets.randbits(62), self._api) if self._random.random() < 0.4 else None
        if caller is None and not name and self._random.random() < 0.2:
            plan = msgspec.structs.replace(plan, delay=0.1)
        if caller:  # whose answer is lost waits all the same, if it was admitted
            self._waiting.append(caller.id)
        asked = submission.new(plan, idempotency_key=name, caller=caller)
        told = await self._submitter.submit(key, asked, self._surfaces)
        if isinstance(told, Refusal | Unaffordable):
            tell(refused=told.code if isinstance(told, Refusal) else type(told).__name__)
            return
        tell(told=type(told).__name__)
        if isinstance(told, Accepted):
            tell(admitted=str(told.parent))
        if name and not isinstance(told, Conflict):
            tell(named=[key.id, name, str(told.parent)])

    def _plan(self, dice: random.Random) -> Plan:
        names = dice.sample(sorted(self._surfaces), dice.randint(1, 3))
        countries = dice.sample(COUNTRIES, dice.randint(1, 2))
        total = len(names) * len(countries)
        return Plan(
            query="q",
            surfaces=tuple(names),
            regions=tuple(map(Region, countries)),
            priority=dice.randint(1, 10),
            deadline=dice.choice([None, None, 0.5]),
            finish=dice.choice([None, *range(1, total)]),
            group=dice.choice([None, *GROUPS]),
        )

    async def _leave(self) -> None:
        """Some together, some at the same moment by another connection, some twice."""
        self._random.shuffle(self._waiting)
        cut = self._random.randint(0, len(self._waiting))
        going, self._waiting = self._waiting[:cut], self._waiting[cut:]
        half = self._random.randint(0, cut)
        await asyncio.gather(self._go(going[:half]), self._go(going[max(0, half - 1) :]))

    async def _go(self, callers: list[int]) -> None:
        async with self._pool.connection() as connection:
            await waits.leave(connection, callers)

    async def _sweep(self) -> None:
        """Some callers are forgotten here; their rows are found."""
        self._waiting = [one for one in self._waiting if self._random.random() < 0.7]
        async with self._pool.connection() as connection:
            await connection.execute(LONG_AGO, {"node": self._api})
            await waits.sweep(connection, self._api, self._waiting)

    async def _forget_dead(self) -> None:
        async with self._pool.connection() as connection:
            await waits.forget_dead(connection, most=self._random.choice([1, 10, 300]))

    async def _look(self) -> None:
        async with self._pool.connection() as connection:
            taken = await snapshot.take(connection, self._random.choice(self._keys).id)
        snapshots.equations(taken)


def tell(**what: Any) -> None:
    """One line in one write, so that lines of several clients do not mix."""
    os.write(1, json.dumps(what).encode() + b"\n")
