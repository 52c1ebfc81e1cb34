"""The database goes away, all of it or some of its sessions, and comes back."""

import asyncio

import psycopg
import pytest
from psycopg import AsyncConnection

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(400)]

TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE usename = 'parallax' ORDER BY random() LIMIT 1
"""
READ_ONLY = "ALTER SYSTEM SET default_transaction_read_only = on"
READ_WRITE = "ALTER SYSTEM RESET default_transaction_read_only"


async def test_postgres_is_restarted(survives):
    """Connections end, and are made anew."""

    async def restart(here, _):
        await here.cluster.stop()
        await here.cluster.start()

    await survives("PostgreSQL restart", restart)


async def test_postgres_is_killed(survives):
    """What was answered is there; a claim that was forgotten is made once more."""

    async def crash(here, _):
        await here.crash()
        await here.cluster.start()

    await survives("PostgreSQL SIGKILL", crash)


async def test_postgres_is_away_for_long(survives, scale):
    """Outcomes are held, and nobody is taken for dead who could not say that it lives."""
    for seconds in (20, 60) if scale.long else (6,):

        async def leave(here, _, seconds=seconds):
            await here.cluster.stop()
            await asyncio.sleep(seconds)
            await here.cluster.start()

        await survives(f"PostgreSQL {seconds} s away", leave)


async def test_backends_are_terminated(survives, scale):
    """One session after the other; what it was at is done by another."""

    async def terminate(here, _):
        root = here.cluster.url(user="postgres")
        async with await AsyncConnection.connect(root, autocommit=True) as connection:
            for _ in range(int(scale.of(15, 150))):
                await connection.execute(TERMINATE)
                await asyncio.sleep(0.2)

    await survives("a stream of pg_terminate_backend", terminate)


async def test_connections_are_taken(survives, scale):
    """Somebody takes 90 of 100, as they become free, and keeps them."""

    async def take(here, _):
        held = []
        url = here.cluster.url()
        end = asyncio.get_running_loop().time() + scale.of(5, 30)
        try:
            while asyncio.get_running_loop().time() < end:
                if len(held) < 90:
                    await _taken(url, held)
                await asyncio.sleep(0.05)
        finally:
            for connection in held:
                await connection.close()

    await survives("90 idle connections held", take)


async def test_postgres_takes_no_writes(survives, scale):
    """As while an administrator moves it: reads work, nothing else does."""

    async def refuse(here, _):
        root = here.cluster.url(user="postgres")
        async with await AsyncConnection.connect(root, autocommit=True) as connection:
            for order in (READ_ONLY, READ_WRITE):
                await connection.execute(order)
                await connection.execute("SELECT pg_reload_conf()")
                await asyncio.sleep(scale.of(4, 20) if order == READ_ONLY else 0)

    await survives("PostgreSQL read-only", refuse)


async def _taken(url: str, held: list[AsyncConnection]) -> None:
    try:
        held.append(await AsyncConnection.connect(url, autocommit=True))
    except psycopg.OperationalError:
        await asyncio.sleep(0.2)
