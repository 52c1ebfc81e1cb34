"""A real database with the doors of two API processes and connections for everybody else.

It is called from synchronous code: one event loop that runs while it is asked for something.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, LiteralString, ParamSpec, TypeVar

import psycopg
from psycopg import AsyncConnection, IsolationLevel

from orchestrator import db
from orchestrator.domain.states import ChildState, ParentState
from orchestrator.settings import Settings
from orchestrator.store import counters
from orchestrator.submission import Submitter
from tests.stateful.checks import Seen
from tests.stateful.model import ChildRow, ParentRow

P = ParamSpec("P")
T = TypeVar("T")

# Deleting is three times as fast as truncating, and keeps prepared plans; no trigger runs.
CLEAN = """
SET session_replication_role = replica;
DELETE FROM child; DELETE FROM parent; DELETE FROM node; DELETE FROM surface; DELETE FROM lane;
DELETE FROM lane_load; DELETE FROM inflight; DELETE FROM backlog; DELETE FROM usage;
DELETE FROM api_secret; DELETE FROM api_key;
SET session_replication_role = origin
"""
PARENTS = "SELECT id, key_id, lanes, priority, state, done, failed, run, finished_at FROM parent"
CHILDREN = """
SELECT parent_id, ordinal, key_id, lane_id, state, attempt, lost, claim, node,
       coalesce(cardinality(log), 0), result::text, error ->> 'code',
       coalesce(run_at <= now(), false)
FROM child
"""


class World:
    """One database and its users. `open` and `close` bracket an example."""

    def __init__(self, url: str, runner: asyncio.Runner) -> None:
        settings = Settings(database_url=url)
        self.url = url
        self._runner = runner
        self._apis = [db.pool(settings, url, most=2, name=f"api-{n}") for n in (1, 2)]
        self._others = db.pool(settings, url, most=6, name="others")
        self.beating = psycopg.connect(url, autocommit=True)
        self.submitters: list[Submitter] = []
        self._doors: list[asyncio.Task[None]] = []

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

    async def open(self) -> None:
        """Empty the database and open both doors."""
        self.execute(CLEAN)
        self.submitters = [Submitter(pool) for pool in self._apis]
        self._doors = [asyncio.create_task(submitter.run()) for submitter in self.submitters]

    async def close(self) -> None:
        for submitter in self.submitters:
            submitter.close()
        await asyncio.gather(*self._doors)

    async def look(self) -> Seen:
        """Everything, as of one moment."""
        async with self._others.connection() as connection:
            await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            try:
                async with connection.transaction():
                    return await _seen(connection)
            finally:
                await connection.set_isolation_level(None)

    async def _pools(self, *, opened: bool) -> None:
        for pool in (*self._apis, self._others):
            await (pool.open(wait=True) if opened else pool.close())


async def _seen(connection: AsyncConnection) -> Seen:
    seen = Seen(differences=await counters.differences(connection))
    for parent, key, lanes, priority, state, *counts, end in await _all(connection, PARENTS):
        seen.parents[parent] = ParentRow(key, tuple(lanes), priority, ParentState(state), *counts)
        if end:
            seen.finished[parent] = end
    for parent, ordinal, key, lane, state, *rest in await _all(connection, CHILDREN):
        seen.children[parent, ordinal] = ChildRow(key, lane, ChildState(state), *rest)
    return seen


async def _all(connection: AsyncConnection, statement: LiteralString) -> list[tuple[Any, ...]]:
    return await (await connection.execute(statement)).fetchall()


@contextmanager
def world(url: str) -> Iterator[World]:
    """A world on this database, its pools open."""
    with asyncio.Runner() as runner:
        made = World(url, runner)
        runner.run(made._pools(opened=True))
        try:
            yield made
        finally:
            runner.run(made._pools(opened=False))
            made.beating.close()
