"""What passes between an application and PostgreSQL, as libpq traces it."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

from psycopg import AsyncConnection
from psycopg.pq import Trace
from psycopg_pool import AsyncConnectionPool

from orchestrator import db
from orchestrator.settings import Settings


class Wire:
    """A pool of one connection, every message of which is written down."""

    def __init__(self, pool: AsyncConnectionPool, log: Path) -> None:
        self.pool = pool
        self._log = log
        self._read = 0

    async def during(self, work: Awaitable[object]) -> str:
        """The messages of this work: kinds, lengths and texts, but not the values bound."""
        await self._news()
        await work
        return "\n".join(line.partition("Bind\t")[0] for line in await self._news())

    async def _news(self) -> list[str]:
        """What was not read yet; libpq writes it down when it next sends something."""
        async with self.pool.connection() as connection:
            await connection.execute("")
        return self._lines()

    def _lines(self) -> list[str]:
        lines = self._log.read_text().splitlines()
        start, self._read = self._read, len(lines)
        return lines[start:]


@asynccontextmanager
async def tapped(settings: Settings, log: Path) -> AsyncIterator[Wire]:
    """A wire to the database of these settings; statements are sent whole each time."""

    async def listen(connection: AsyncConnection) -> None:
        connection.prepare_threshold = None
        connection.pgconn.trace(written.fileno())
        connection.pgconn.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)

    with log.open("w") as written:
        async with AsyncConnectionPool(
            str(settings.database_url),
            kwargs=db.options(),
            min_size=1,
            max_size=1,
            open=False,
            configure=listen,
        ) as pool:
            yield Wire(pool, log)
