"""Where a parent stands in its queue: exact to 10,000 ahead, estimated beyond."""

import pytest

from orchestrator.store import parents, standing
from orchestrator.store.standing import EXACT
from tests import factories

pytestmark = pytest.mark.anyio

MANY = """
INSERT INTO parent (id, key_id, priority, lanes, total, payload, created_at)
SELECT lpad(to_hex(n), 32, '0')::uuid, %(key)s, CASE WHEN n %% 3 = 0 THEN 9 ELSE 5 END,
       ARRAY[%(lane)s::int], 1,
       '{"query": "q", "surfaces": ["chatgpt"], "regions": [{"country": "US"}]}',
       now() + n * interval '1 second'
FROM generate_series(1, %(n)s) AS n
"""
RANKED = """
SELECT id, row_number() OVER (ORDER BY priority DESC, id)
FROM parent WHERE key_id = %s AND state = 'queued'
"""


@pytest.fixture
async def owner(connection):
    return await factories.key(connection, queue_capacity=100_000)


async def place(connection, owner, parent):
    row = await parents.read(connection, key_id=owner.id, parent=parent)
    assert row
    return await standing.place(connection, row)


async def test_every_place_of_a_short_queue_is_exact(connection, owner):
    """Priorities, ages, and parents of other keys, delayed or gone, which do not count."""
    lane = await factories.lane(connection)
    for priority in (5, 9, 1, 5, 9):
        await factories.parent(connection, owner, [lane], priority=priority)
        await factories.new_waiting(connection, owner, [lane], delay=60, priority=10)
        await factories.parent(connection, await factories.key(connection), [lane])
    ranked = await (await connection.execute(RANKED, [owner.id])).fetchall()
    assert len(ranked) == 5
    for parent, rank in ranked:
        found = await place(connection, owner, parent)
        assert (found.position, found.estimated) == (rank, False)


async def test_far_back_a_place_is_estimated(connection, owner):
    """Up to 10,000 ahead it is exact, whatever is behind; beyond it is near, and says so."""
    lane = await factories.lane(connection)
    await connection.execute(MANY, {"key": owner.id, "lane": lane, "n": 24_000})
    ranked = {
        rank: parent
        for parent, rank in await (await connection.execute(RANKED, [owner.id])).fetchall()
    }
    for rank in (1, 2, 8_000, 8_001, EXACT):
        found = await place(connection, owner, ranked[rank])
        assert (found.position, found.estimated) == (rank, False)
    for rank in (EXACT + 1, 12_000, 20_000, 24_000):
        found = await place(connection, owner, ranked[rank])
        assert found.estimated
        assert found.position == pytest.approx(rank, rel=0.05)
        assert found.position > EXACT
