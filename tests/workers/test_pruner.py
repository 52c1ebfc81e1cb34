"""The pruner: batch after batch while something is due, then a rest."""

import pytest

from orchestrator.store import group_actions, groups
from tests import factories
from tests.workers.database import pool_of
from workers.roles.pruner import REST_SECONDS, Pruner

pytestmark = pytest.mark.anyio

DAY = 86_400
CANCELED = """
UPDATE parent SET state = 'canceled', done = 1, canceled = 1, stop = 'canceled',
                  finished_at = now() - %s * interval '1 hour'
WHERE id = ANY(%s)
"""


@pytest.fixture
async def owner(connection):
    return await factories.key(connection)


@pytest.fixture
async def lane(connection):
    return await factories.lane(connection)


async def test_it_goes_on_until_nothing_is_due(connection, database, owner, lane):
    """250 parents take two batches; what ended a moment ago stays."""
    *old, young = await factories.some_parents(connection, owner, [lane], n=251)
    await connection.execute(CANCELED, [25, old])
    await connection.execute(CANCELED, [23, [young]])
    async with pool_of(database) as pool:
        pruner = Pruner(pool, retention_seconds=DAY)
        rests = [await pruner.step() for _ in range(3)]
    assert rests[2] == REST_SECONDS > max(rests[:2])
    cursor = await connection.execute("SELECT id FROM parent")
    assert await cursor.fetchall() == [(young,)]


async def test_it_forgets_what_was_asked_of_groups(connection, database, owner):
    """Done long ago, with nothing else to prune."""
    (group,) = (await groups.ensure(connection, [(owner.id, "night")])).values()
    await group_actions.request(connection, key_id=owner.id, group_id=group, kind="cancel")
    await connection.execute("UPDATE group_action SET finished_at = now() - interval '25 hours'")
    async with pool_of(database) as pool:
        pruner = Pruner(pool, retention_seconds=DAY)
        rests = [await pruner.step() for _ in range(2)]
    assert rests[1] == REST_SECONDS > rests[0]
    assert await factories.scalar(connection, "SELECT count(*) FROM group_action") == 0
