"""A session with the server itself is ours; `tests/pgbouncer` has those that are not."""

import pytest

from orchestrator import db
from tests.factories import scalar

pytestmark = pytest.mark.anyio

PLANNED = "SELECT current_setting('plan_cache_mode') || ', jit ' || current_setting('jit')"
PREPARED = "SELECT count(*)::int FROM pg_prepared_statements"


async def used(connection):
    """How a session plans, and whether it keeps a statement that it ran many times."""
    for n in range(10):
        await connection.execute("SELECT FROM usage WHERE key_id = %s", [n])
    return await scalar(connection, PLANNED), await scalar(connection, PREPARED) > 0


async def test_each_session_of_a_pool_plans_our_way(database):
    """Statements are kept, planned once and never compiled."""
    async with db.pool(database, most=1, name="test") as pool, pool.connection() as connection:
        assert await used(connection) == ("force_generic_plan, jit off", True)


async def test_so_does_a_session_by_itself(database):
    """As the command line has one."""
    async with db.connect(database) as connection:
        assert await used(connection) == ("force_generic_plan, jit off", True)


async def test_a_transaction_that_is_undone_leaves_it_so(database):
    """Its settings are the session's own."""
    async with db.connect(database) as connection:
        async with connection.transaction(force_rollback=True):
            await connection.execute("SELECT set_config('plan_cache_mode', 'auto', true)")
        assert await used(connection) == ("force_generic_plan, jit off", True)
