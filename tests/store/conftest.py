"""More sessions on the test's database, and ways to see them meet."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from orchestrator.store import counters
from tests.waiting import eventually

PAUSE_LOCK = 7_000_000


@pytest.fixture
async def connect(anyio_backend, database) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Opens one more session, in autocommit, closed with the test; deadlocks show in 0.1 s."""
    async with AsyncExitStack() as opened:

        async def make() -> AsyncConnection:
            session = await AsyncConnection.connect(
                database, autocommit=True, options="-c deadlock_timeout=100ms -c jit=off"
            )
            return await opened.enter_async_context(session)

        yield make


@pytest.fixture
async def new_pool(anyio_backend, database) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Opens one more pool, as one more process would, closed with the test."""
    async with AsyncExitStack() as opened:

        async def make(most: int = 4) -> AsyncConnectionPool:
            pool = AsyncConnectionPool(
                database,
                kwargs={"autocommit": True},
                min_size=1,
                max_size=most,
                open=False,
            )
            return await opened.enter_async_context(pool)

        yield make


class Meeting:
    """Runs statements of other sessions until they end or wait for a lock."""

    def __init__(self, watcher: AsyncConnection) -> None:
        self._watcher = watcher
        self._tasks: set[asyncio.Task[Any]] = set()

    async def begin(
        self, session: AsyncConnection, work: Coroutine[Any, Any, Any]
    ) -> asyncio.Task[Any]:
        """Start work on this session; returns when it has ended or waits for another session."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        await self.met(task, session.info.backend_pid)
        return task

    async def met(self, work: asyncio.Future[Any], pid: int) -> None:
        """Return when the work is done or its backend waits for another session."""

        async def ended_or_waits() -> bool:
            return work.done() or await self.waiting(pid)

        await eventually(ended_or_waits)

    async def waiting(self, pid: int) -> bool:
        """True while this backend waits for a lock that another holds."""
        cursor = await self._watcher.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", [pid])
        row = await cursor.fetchone()
        return bool(row and row[0])

    async def end(self) -> None:
        """Leave no task behind."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def meeting(connect) -> AsyncIterator[Meeting]:
    """Lets sessions meet: `task = await meeting.begin(session, work)`."""
    made = Meeting(await connect())
    yield made
    await made.end()


PAUSE = """
CREATE FUNCTION gate_open() RETURNS bool LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_advisory_lock_shared(7000000);
  PERFORM pg_advisory_unlock_shared(7000000);
  RETURN true;
END $$;
ALTER TABLE lane RENAME TO lane_kept;
CREATE VIEW lane AS SELECT * FROM lane_kept WHERE gate_open();
"""


class Gate:
    """Stops every statement that reads the lanes, after its snapshot was taken."""

    def __init__(self, keeper: AsyncConnection) -> None:
        self._keeper = keeper

    async def shut(self) -> None:
        """From now on whoever reads the lanes waits."""
        await self._keeper.execute("SELECT pg_advisory_lock(%s)", [PAUSE_LOCK])

    async def open(self) -> None:
        """Let them go on."""
        await self._keeper.execute("SELECT pg_advisory_unlock(%s)", [PAUSE_LOCK])


@pytest.fixture
def install_gate(connect, connection) -> Callable[[], Awaitable[Gate]]:
    """Puts a gate before the lanes, once they are made: it stops claims and fan-outs midway."""

    async def install() -> Gate:
        await connection.execute(PAUSE)
        return Gate(await connect())

    return install


@pytest.fixture
def recounted(connection) -> Callable[[], Awaitable[None]]:
    """Fails when a counter disagrees with the rows."""

    async def check() -> None:
        assert await counters.differences(connection) == []

    return check


@pytest.fixture
def one_session(database) -> psycopg.Connection:
    """A plain synchronous session, in autocommit."""
    with psycopg.connect(database, autocommit=True) as opened:
        yield opened
