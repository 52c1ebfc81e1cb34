"""A pool of connections that comes through an outage of its server well.

psycopg's pool finds out that a connection is dead by failing a request with it, waits longer and
longer between attempts to connect, and lets everybody queue meanwhile. Here a connection whose
server has hung up is not handed out, a lost server is tried once a second, and while it is known to
be away whoever asks is told so at once.
"""

import asyncio
import select
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from psycopg import AsyncConnection
from psycopg.errors import ReadOnlySqlTransaction
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from orchestrator import poolers

RECONNECT_SECONDS = 1.0
"""Between two attempts to connect; after two in a row that failed the server is away."""
MOST_WAITING = 10_000
"""Who wait for a connection; one more is refused. All callers of a process may be woken at once."""
AWAY = "the database is away"
_log = structlog.get_logger()


class Pool(AsyncConnectionPool[AsyncConnection]):
    """Connections to one server, at most `most`; `seconds` is how long to wait for one."""

    def __init__(
        self, url: str, *, kwargs: dict[str, Any], most: int, seconds: float, name: str
    ) -> None:
        super().__init__(
            url,
            kwargs=kwargs,
            min_size=1,
            max_size=most,
            timeout=seconds,
            max_waiting=MOST_WAITING,
            configure=_furnish,
            reset=_nothing,
            reconnect_timeout=RECONNECT_SECONDS,
            reconnect_failed=self._not_reached,
            open=False,
            name=name,
        )
        self._in_use = 0
        self._away = False
        self._patient: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def connection(self, timeout: float | None = None) -> AsyncIterator[AsyncConnection]:  # noqa: ASYNC109 - psycopg's
        """A connection for the length of a block; one to a server that only reads is not kept."""
        connection = await self.getconn(timeout)
        try:
            async with connection:  # which ends its transaction, and is not closed: it is a pool's
                yield connection
        except ReadOnlySqlTransaction:
            await connection.close()
            raise
        finally:
            await self.putconn(connection)

    async def getconn(self, timeout: float | None = None) -> AsyncConnection:  # noqa: ASYNC109
        """A connection whose server has not hung up; `PoolTimeout` when there is none in time."""
        until = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            connection = await self._next(until - time.monotonic())
            if not _hung_up(connection):
                self._away = False
                self._in_use += 1
                return connection
            await connection.close()
            await super().putconn(connection)  # which is replaced

    async def putconn(self, conn: AsyncConnection) -> None:
        """Take a connection back."""
        self._in_use -= 1
        await super().putconn(conn)

    async def _next(self, seconds: float) -> AsyncConnection:
        if self._away and not self._idle:
            raise PoolTimeout(AWAY)
        try:
            async with asyncio.timeout(None) as patience:
                self._patient.add(patience)
                return await super().getconn(seconds)
        except TimeoutError:
            raise PoolTimeout(AWAY) from None
        finally:
            self._patient.discard(patience)

    @property
    def _idle(self) -> int:
        return self.get_stats()["pool_available"]

    async def _not_reached(self, _: AsyncConnectionPool[Any]) -> None:
        """Two attempts have failed: nobody waits for a server that is away; and try again."""
        if not self._in_use and not self._idle:
            if not self._away:
                _log.warning("pool.away", pool=self.name)
            self._away = True
            for patience in self._patient:
                if not patience.expired():
                    patience.reschedule(0)
        await self.check()


async def _nothing(_: AsyncConnection) -> None:
    """With something to do for a connection that comes back, the pool's own tasks take it back.

    Otherwise whoever brings it does, and if that is canceled meanwhile the connection is lost.
    """


async def _furnish(connection: AsyncConnection) -> None:
    await poolers.furnish(connection)


def _hung_up(connection: AsyncConnection) -> bool:
    """Whether an idle connection has something to read: its end, as nobody has asked anything."""
    if connection.closed:
        return True
    poll = select.poll()  # unlike `select` it takes descriptors beyond 1,023
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
