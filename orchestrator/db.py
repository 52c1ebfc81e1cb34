"""Connections to PostgreSQL: psycopg 3 and its pool, opened at the edge and passed down."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from orchestrator import poolers
from orchestrator.pools import Pool
from orchestrator.store import nodes

CONNECT_SECONDS = 5
SILENCE_MS = 5_000
"""What was sent and is not acknowledged for so long was sent into the void.

Without it a statement under way when a host or a network vanishes waits for a quarter of an hour:
keepalives are for connections that idle. A limit on the statement itself would not reach the server
through a pooler, nor come back from one that is gone, and would make of slowness an outage.
"""


def options() -> dict[str, Any]:
    """How every connection is opened.

    Perhaps to a pooler: nothing is prepared, and nothing asked for at the start, before
    `poolers.furnish` has found the server itself. Half-open connections are noticed by keepalives.
    """
    return {
        "autocommit": True,
        "connect_timeout": CONNECT_SECONDS,
        "prepare_threshold": None,
        "application_name": nodes.session_name(),
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": SILENCE_MS,
        "target_session_attrs": "read-write",
    }


def pool(url: str, *, most: int, name: str) -> Pool:
    """A pool that is not open yet, of at most `most` connections; broken ones are replaced."""
    return Pool(url, kwargs=options(), most=most, seconds=CONNECT_SECONDS, name=name)


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
async def connect(url: str) -> AsyncIterator[AsyncConnection]:
    """One connection of its own, in autocommit."""
    connection = await AsyncConnection.connect(url, **options())
    async with connection:
        await poolers.furnish(connection)
        yield connection
