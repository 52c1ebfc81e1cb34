"""What the handlers stand on; opened once for the life of the application and handed down."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import anyio
from litestar import Litestar
from litestar.types import Scope
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from admission.keys import Key
from orchestrator import db
from orchestrator.api import catalogue
from orchestrator.api.cached import Cached
from orchestrator.api.catalogue import Catalogue
from orchestrator.settings import Settings
from orchestrator.submission import Submitter

MOST_CONNECTIONS = 8
KEY_SECONDS = 2.0
"""How long a revoked secret may still open the door, and a changed limit go unseen here."""
MOST_KEYS = 10_000
CATALOGUE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Services:
    """The database, the door and what is remembered of either for a moment."""

    settings: Settings
    pool: AsyncConnectionPool
    submitter: Submitter
    keys: Cached[bytes, Key] = field(
        default_factory=lambda: Cached(seconds=KEY_SECONDS, largest=MOST_KEYS)
    )
    catalogues: Cached[str, Catalogue] = field(
        default_factory=lambda: Cached(seconds=CATALOGUE_SECONDS, largest=1)
    )

    async def catalogue(self) -> Catalogue:
        """What can be captured, as of a second ago at most."""
        return self.catalogues.peek("") or await self._catalogue()

    async def _catalogue(self) -> Catalogue:
        async def load() -> Catalogue:
            async with self.pool.connection() as connection:
                return await catalogue.read(connection)

        return cast("Catalogue", await self.catalogues.get("", load))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which several reads see one moment."""
        async with self.pool.connection() as connection, connection.transaction():
            await connection.execute(REPEATABLE)
            yield connection


REPEATABLE = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY
"""


@asynccontextmanager
async def opened(settings: Settings, url: str) -> AsyncIterator[Services]:
    """The services of a living application; what was submitted is finished before they close."""
    async with db.pool(settings, url, most=MOST_CONNECTIONS, name="api") as pool:
        submitter = Submitter(pool)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(submitter.run)
            try:
                yield Services(settings=settings, pool=pool, submitter=submitter)
            finally:
                submitter.close()


def of(scope: Scope) -> Services:
    """The services of the application that serves this request."""
    app: Litestar = scope["litestar_app"]
    return cast("Services", app.state["services"])
