"""Each connection finds out for itself whether a pooler is before the server."""

import asyncio

import psycopg
import pytest

from orchestrator import db, listener, notify
from orchestrator.fanout import fan_out
from orchestrator.store import counters, migrations
from tests import factories
from tests.pgbouncer.bouncing import POOL

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.optional]

PLANNED = "SELECT current_setting('plan_cache_mode')"
COMPLETED = "SELECT count(*)::int FROM child WHERE state = 'completed'"
PREPARED = "SELECT count(*)::int FROM pg_prepared_statements"
LISTENING = """
SELECT count(*)::int FROM pg_stat_activity
WHERE datname = current_database() AND starts_with(query, 'LISTEN')
"""


async def test_a_pooler_is_left_as_it_was(pooled):
    """What is set or prepared there would be somebody else's a moment later."""
    async with db.connect(pooled) as connection:
        for n in range(10):
            await connection.execute("SELECT FROM usage WHERE key_id = %s", [n])
        assert await factories.scalar(connection, PLANNED) == "auto"
        assert await factories.scalar(connection, PREPARED) == 0


async def test_many_more_clients_than_server_connections_take_turns(pooled, connection):
    """Every transaction on another connection than the last: all statements come through."""
    owner = await factories.key(connection, queue_capacity=1_000)
    lane = await factories.lane(connection)
    node = await factories.node(connection)
    async with db.pool(pooled, most=4 * POOL, name="test") as pool:

        async def work(_):
            async with pool.connection() as own:
                await factories.parent(own, owner, [lane, lane])
            async with pool.connection() as own:
                await fan_out(own)
            async with pool.connection() as own:
                claimed = await factories.claim(own, by=node)
            async with pool.connection() as own:
                return (await factories.complete(own, claimed)).children if claimed else 0

        done = sum(await asyncio.gather(*map(work, range(200))))
    assert done > 0
    assert await factories.scalar(connection, COMPLETED) == done
    assert await counters.differences(connection) == []


async def test_who_listens_through_a_pooler_gives_up_at_once(pooled, connection):
    """It would hear nothing, and leave a session that hears for nobody; polling goes on."""
    async with asyncio.timeout(20):
        await listener.listen(pooled, db.options(), {notify.ADMITTED: pytest.fail})
    assert await factories.scalar(connection, LISTENING) == 0


async def test_the_schema_is_made_through_a_pooler(bouncer, empty):
    """In one transaction, under its lock, and nothing prepared is left behind."""
    url = bouncer.url(empty)
    waiting = migrations.pending(url)
    assert migrations.upgrade(url) == waiting != []
    assert migrations.pending(url) == []
    async with await psycopg.AsyncConnection.connect(url, prepare_threshold=None) as session:
        assert await factories.scalar(session, PREPARED) == 0
