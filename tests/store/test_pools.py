"""Our pool: connections that are dead or useless are nobody's, and an outage is short."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from orchestrator import db
from orchestrator.patience import DATABASE_AWAY
from orchestrator.pools import AWAY, Pool
from tests.factories import scalar
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

MOST = 4
PID = "SELECT pg_backend_pid()"


@pytest.fixture
async def pool(anyio_backend, database) -> AsyncIterator[Pool]:
    async with db.pool(database, most=MOST, name="test") as opened:
        await opened.wait()  # or who asks before there is a connection has another made
        yield opened


async def pid(pool):
    async with pool.connection() as connection:
        return await scalar(connection, PID)


async def use(pool, statement, *, first=lambda: None):
    async with pool.connection() as connection:
        first()
        await connection.execute(statement)


async def filled(pool):
    """The sessions of a pool that has all the connections it may have."""
    everybody = asyncio.Barrier(MOST)

    async def one():
        async with pool.connection() as connection:
            await everybody.wait()
            return await scalar(connection, PID)

    return set(await asyncio.gather(*(one() for _ in range(MOST))))


async def away(pool):
    """Whether who asks is told at once, by now, that there is nothing."""
    try:
        await pid(pool)
    except PoolTimeout as error:
        return str(error) == AWAY
    return False


async def test_a_connection_whose_server_hung_up_is_not_handed_out(pool, outage):
    """All sessions end while they idle: nobody who asks next gets one of them, and none fails."""
    before = await filled(pool)
    outage.end_sessions()
    after = await asyncio.gather(*(pid(pool) for _ in range(40)))
    assert before.isdisjoint(after)


async def test_a_pool_that_cannot_grow_serves_with_what_it_has(pool, outage):
    """No further connection is to be had: who asks waits for the one there is."""
    mine = await pid(pool)
    outage.shut()
    assert set(await asyncio.gather(*(pid(pool) for _ in range(40)))) == {mine}
    async with pool.connection(), asyncio.timeout(30):
        with pytest.raises(PoolTimeout, match="after"):
            async with pool.connection(timeout=2):
                pass
    assert await pid(pool) == mine
    outage.come_back()


async def test_while_the_server_is_away_nobody_waits(pool, outage):
    """A crowd that waits is told together, who comes later at once; all know it for an outage."""
    await pid(pool)
    outage.go()
    async with asyncio.timeout(30):
        told = await asyncio.gather(*(pid(pool) for _ in range(1000)), return_exceptions=True)
        assert {type(error) for error in told} == {PoolTimeout}
        assert all(isinstance(error, DATABASE_AWAY) for error in told)
        for _ in range(100):
            assert await away(pool)
    outage.come_back()


async def test_a_server_that_is_back_is_found_without_anybody_asking(pool, outage):
    """It is tried all along: the first who asks once it is found is served."""
    await pid(pool)
    outage.go()
    await eventually(lambda: away(pool))
    outage.come_back()

    async def found():
        return pool.get_stats()["pool_available"]

    await eventually(found)
    assert len(await filled(pool)) == MOST


async def test_a_server_that_only_reads_is_no_server(pool, outage):
    """It is not connected to; a host of the same URL that writes would be."""
    outage.only_read()
    await eventually(lambda: away(pool))
    outage.write_again()

    async def found():
        return pool.get_stats()["pool_available"]

    await eventually(found)
    assert await pid(pool)


async def test_a_connection_that_finds_its_server_only_reads_is_not_kept(database):
    """A primary demoted under it: the next connection is made anew."""
    async with db.pool(database, most=1, name="test") as pool:  # or another may come in between
        before = await pid(pool)
        async with pool.connection() as connection:
            await connection.execute("SET default_transaction_read_only = on")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await use(pool, "CREATE TABLE never ()")
        assert await pid(pool) != before


async def test_a_connection_that_breaks_in_use_is_replaced(pool, outage):
    """Its user is told; the next one has another."""
    before = await filled(pool)
    with pytest.raises(psycopg.OperationalError):
        await use(pool, PID, first=outage.end_sessions)
    assert before.isdisjoint({await pid(pool) for _ in range(10)})
