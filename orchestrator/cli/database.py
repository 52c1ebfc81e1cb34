"""The database of a command: the one of PARALLAX_DATABASE_URL, else a share in the embedded one."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple

from psycopg import AsyncConnection, OperationalError

from orchestrator import db, embedded, secret_keys
from orchestrator.embedded import Embedded
from orchestrator.errors import DatabaseUnavailableError
from orchestrator.settings import Settings, load


class Served(NamedTuple):
    """Settings with a database URL, and our share in the embedded server if it is that one.

    Beside that one they have a secret key too.
    """

    settings: Settings
    share: Embedded | None


@contextmanager
def served(settings: Settings) -> Iterator[Served]:
    """A database that runs; the embedded one runs at least as long as this."""
    if settings.database_url:
        yield Served(settings, None)
        return
    with embedded.start(settings.data_dir) as share:
        key = secret_keys.beside(settings.secret_key, share.place.data_dir)
        here = settings.model_copy(update={"database_url": share.url, "secret_key": key})
        yield Served(here, share)


@contextmanager
def prepared(settings: Settings) -> Iterator[Served]:
    """A database that runs and has this version's schema."""
    from orchestrator.store import migrations

    with served(settings) as here:
        migrations.upgrade(here.settings.listen_url or str(here.settings.database_url))
        yield here


@asynccontextmanager
async def connected(settings: Settings | None = None) -> AsyncIterator[AsyncConnection]:
    """A connection to a prepared database, in autocommit; the settings are the environment's."""
    with prepared(settings or load()) as here:
        try:
            async with db.connect(str(here.settings.database_url)) as connection:
                yield connection
        except OperationalError as error:
            reason = str(error).partition("\n")[0]
            raise DatabaseUnavailableError(f"PostgreSQL cannot be reached: {reason}") from None
