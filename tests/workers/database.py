"""Outages of one test's database, and pools that notice them soon."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool


@asynccontextmanager
async def pool_of(
    database: str, *, most: int = 2, patience: float = 0.5
) -> AsyncIterator[AsyncConnectionPool]:
    """A pool as a worker has it, but impatient."""
    async with AsyncConnectionPool(
        database,
        kwargs={"autocommit": True},
        min_size=1,
        max_size=most,
        timeout=patience,
        open=False,
    ) as pool:
        yield pool


@contextmanager
def away(maintenance: psycopg.Connection, database: str) -> Iterator[None]:
    """Every session on this database is cut off, and nobody gets a new one meanwhile."""
    _alter(maintenance, database, "ALLOW_CONNECTIONS false")
    _cut(maintenance, database)
    yield
    _alter(maintenance, database, "ALLOW_CONNECTIONS true")


@contextmanager
def read_only(maintenance: psycopg.Connection, database: str) -> Iterator[None]:
    """Every session is cut off; new ones can only read, as on a standby after a failover."""
    _alter(maintenance, database, "SET default_transaction_read_only = on")
    _cut(maintenance, database)
    yield
    _alter(maintenance, database, "SET default_transaction_read_only = off")
    _cut(maintenance, database)


def _alter(maintenance: psycopg.Connection, database: str, change: str) -> None:
    name = sql.Identifier(str(conninfo_to_dict(database)["dbname"]))
    maintenance.execute(sql.SQL("ALTER DATABASE {} ").format(name) + sql.SQL(change))


def _cut(maintenance: psycopg.Connection, database: str) -> None:
    maintenance.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
        [conninfo_to_dict(database)["dbname"]],
    )
