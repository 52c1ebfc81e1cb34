"""Sessions of others that hold on to the past, and statements of ours that fail."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from psycopg import AsyncConnection, IsolationLevel

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(400)]

LOOK = "SELECT count(*) FROM parent"
READ = "SELECT state, count(*) FROM child GROUP BY 1"
FAIL = """
CREATE FUNCTION journal.fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'planted';
END $$;
CREATE TRIGGER failing BEFORE UPDATE ON child FOR EACH ROW
  WHEN (OLD.claim IS NOT NULL AND NEW.claim IS NULL) EXECUTE FUNCTION journal.fail();
"""
MEND = """
DROP TRIGGER failing ON child;
DROP FUNCTION journal.fail();
"""
FAIL_TWICE = """
CREATE SEQUENCE journal.strikes;
CREATE FUNCTION journal.fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  CASE nextval('journal.strikes')
    WHEN 1 THEN RAISE EXCEPTION 'planted' USING ERRCODE = 'serialization_failure';
    WHEN 2 THEN RAISE EXCEPTION 'planted' USING ERRCODE = 'deadlock_detected';
    ELSE RETURN NEW;
  END CASE;
END $$;
CREATE TRIGGER failing BEFORE UPDATE ON child FOR EACH ROW
  WHEN (OLD.claim IS NOT NULL AND NEW.claim IS NULL) EXECUTE FUNCTION journal.fail();
"""
STRIKES = "SELECT last_value FROM journal.strikes"


async def test_a_session_idles_in_a_transaction(survives, scale):
    """One that has read, and one whose snapshot is as old as its transaction."""

    async def idle(here, _):
        levels = (IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ)
        async with AsyncExitStack() as stack:
            for level in levels:
                await _begun(stack, here.cluster.url(), level)
            await asyncio.sleep(scale.of(4, 60))

    row = await survives("idle in transaction", idle)
    assert row.during >= scale.share


async def test_readers_with_long_snapshots(survives, scale):
    """Four of them read all there is, again and again, as it was when they began."""

    async def read(here, _):
        async with AsyncExitStack() as stack:
            level = IsolationLevel.REPEATABLE_READ
            readers = [await _begun(stack, here.cluster.url(), level) for _ in range(4)]
            for _ in range(int(scale.of(4, 60))):
                for reader in readers:
                    await reader.execute(READ)
                await asyncio.sleep(1)

    row = await survives("4 repeatable-read readers", read)
    assert row.during >= scale.share


async def test_settling_fails_for_a_while(survives, scale):
    """The database refuses every outcome; they are held, and recorded once it no longer does."""

    async def fail(here, _):
        await here.run(FAIL)
        await asyncio.sleep(scale.of(4, 15))
        await here.run(MEND)

    await survives("settling fails for a while", fail)


async def test_settling_meets_a_conflict(survives):
    """A serialization failure and a deadlock: the same statement again, and it is done."""

    async def fail(here, _):
        await here.run(FAIL_TWICE)
        await asyncio.sleep(3)
        assert await here.rows(STRIKES) > [(2,)]
        await here.run(MEND)

    row = await survives("settling meets 40001 and 40P01", fail)
    assert row.during >= 0.5


async def _begun(stack: AsyncExitStack, url: str, level: IsolationLevel) -> AsyncConnection:
    connection = await stack.enter_async_context(await AsyncConnection.connect(url))
    await connection.set_isolation_level(level)
    await connection.execute(LOOK)
    return connection
