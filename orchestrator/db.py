"""Connections to PostgreSQL: psycopg 3 and its pool, opened at the edge and passed down."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from orchestrator.settings import Settings

CONNECT_SECONDS = 5
OPTIONS = "-c jit=off -c plan_cache_mode=force_generic_plan"
"""Our statements are short, many and prepared: each is planned once and never compiled.

Planning a claim anew costs more than running it; plan tests hold the generic plans to the indexes.
"""


def options(settings: Settings) -> dict[str, Any]:
    """How every connection is opened.

    Beside a pooler (`PARALLAX_LISTEN_URL` set) statements are not prepared, the next one may meet
    another server connection, and no start-up options are sent. Half-open connections are noticed
    by keepalives.
    """
    direct: dict[str, Any] = {} if settings.listen_url else {"options": OPTIONS}
    return direct | {
        "autocommit": True,
        "connect_timeout": CONNECT_SECONDS,
        "prepare_threshold": None if settings.listen_url else 5,
        "application_name": "parallax",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
    }


def pool(settings: Settings, url: str, *, most: int, name: str) -> AsyncConnectionPool:
    """A pool that is not open yet, of at most `most` connections; broken ones are replaced."""
    return AsyncConnectionPool(
        url,
        kwargs=options(settings),
        min_size=1,
        max_size=most,
        timeout=CONNECT_SECONDS,
        open=False,
        name=name,
    )


@asynccontextmanager
async def one_moment(pool: AsyncConnectionPool) -> AsyncIterator[AsyncConnection]:
    """A connection on which several reads see one moment."""
    async with pool.connection() as connection, connection.transaction():
        await connection.execute(REPEATABLE)
        yield connection


REPEATABLE = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY
"""


@asynccontextmanager
async def connect(settings: Settings, url: str) -> AsyncIterator[AsyncConnection]:
    """One connection of its own, in autocommit."""
    connection = await AsyncConnection.connect(url, **options(settings))
    async with connection:
        yield connection
