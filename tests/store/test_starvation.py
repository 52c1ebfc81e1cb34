"""Low priorities are slowed, never starved: each tenth pick is the oldest whatever its priority."""

from collections import Counter

import pytest

from orchestrator.fanout import fan_out
from tests import factories

pytestmark = pytest.mark.anyio


@pytest.fixture
async def owner(connection):
    return await factories.key(connection, concurrency=8, queue_capacity=10_000)


@pytest.fixture
async def lane(connection):
    return await factories.lane(connection, concurrency=1000)


async def priorities(connection, parents) -> Counter[int]:
    cursor = await connection.execute(
        "SELECT priority FROM parent WHERE id = ANY(%s)", [list(parents)]
    )
    return Counter([priority async for (priority,) in cursor])


@pytest.mark.parametrize("slots", [1, 3, 100])
@pytest.mark.parametrize("cells", [1, 3])
async def test_the_lowest_priority_gets_its_tenth(connection, owner, lane, slots, cells):
    """Under a stream of priority 10 that never lets up, whatever the size of a claim."""
    low = await factories.some_parents(connection, owner, [lane] * cells, n=60, priority=1)
    served: Counter[int] = Counter()
    while served.total() < 200:
        await factories.some_parents(connection, owner, [lane] * cells, n=20, priority=10)
        await fan_out(connection)
        claimed = await factories.claim(connection, slots=slots)
        await factories.complete(connection, claimed)
        for child in claimed:
            served[1 if child.parent_id in low else 10] += 1
    share = served[1] / served.total()
    assert 0.08 <= share <= 0.2


async def test_a_parent_that_leaves_by_age_is_the_oldest(connection, owner, lane):
    """Nine leave by priority, the tenth by age, and so on from wherever the last look ended."""
    low = await factories.some_parents(connection, owner, [lane], n=3, priority=1)
    await factories.some_parents(connection, owner, [lane], n=60, priority=10)
    left: list[int] = []
    for parents in (4, 7, 1, 8):
        await fan_out(connection, parents=parents)
        gone = await factories.scalar(
            connection,
            "SELECT count(*) FROM parent WHERE id = ANY(%s) AND state <> 'queued'",
            low,
        )
        left.append(gone)
        await factories.complete(connection, await factories.claim(connection))
    assert left == [0, 1, 1, 2]


async def test_equal_priorities_leave_by_age_alone(connection, owner, lane):
    """The pick by age is the one by priority, and nobody is passed over."""
    parents = await factories.some_parents(connection, owner, [lane], n=40)
    order: list[int] = []
    while len(order) < 40:
        await fan_out(connection, parents=3)
        claimed = await factories.claim(connection, slots=2)
        order += [parents.index(child.parent_id) for child in claimed]
        await factories.complete(connection, claimed)
    assert order == sorted(order)
