from collections import Counter

import pytest

from admission import keys
from admission.limits import Limits
from orchestrator.fanout import fan_out
from orchestrator.store import children
from tests import factories

pytestmark = pytest.mark.anyio


async def running(connection, owner) -> tuple[int, int]:
    """A key's children being captured: sync, async."""
    cursor = await connection.execute(
        "SELECT count(*) FILTER (WHERE priority > 100), count(*) FILTER (WHERE priority <= 100)"
        " FROM child WHERE state = 'processing' AND key_id = %s",
        [owner.id],
    )
    return (await cursor.fetchall())[0]


async def claim_all(connection, **how):
    """Claims in a row, until one is empty."""
    claimed = []
    while more := await factories.claim(connection, **how):
        claimed += more
    return claimed


async def test_the_children_of_a_sync_parent_can_be_claimed_at_once(connection, recounted):
    """They were never in the queue: no fan-out comes before their first claim."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    parent = await factories.sync_parent(connection, owner, [lane, lane])
    assert await fan_out(connection) == 0
    claimed = await factories.claim(connection)
    assert sorted((child.parent_id, child.ordinal) for child in claimed) == [
        (parent, 1),
        (parent, 2),
    ]
    await recounted()


async def test_sync_children_of_any_key_start_before_async_ones(connection):
    """Whoever has someone waiting is served first, whatever else runs or waits, or how urgent."""
    lane = await factories.lane(connection)
    idle, busy = await factories.key(connection), await factories.key(connection)
    await factories.some_parents(connection, idle, [lane], n=5, priority=10)
    await factories.some_parents(connection, busy, [lane], n=20)
    await fan_out(connection)
    await factories.claim(connection, slots=20)
    await factories.some_parents(connection, idle, [lane], n=5, priority=10)
    await fan_out(connection)
    waited = await factories.sync_parent(connection, busy, [lane] * 3, priority=1)
    claimed = await factories.claim(connection, slots=3)
    assert {child.parent_id for child in claimed} == {waited}


@pytest.mark.parametrize(("slots", "places"), [(3, 100), (20, 5)], ids=["slots", "lane"])
async def test_a_key_with_sync_children_running_goes_before_idle_keys(connection, slots, places):
    """Fairness is among those somebody waits for, be it slots that are few or a lane's places."""
    idle, calling = await factories.key(connection), await factories.key(connection)
    other = await factories.lane(connection, "GB")
    await factories.sync_parent(connection, calling, [other] * 8)
    await factories.claim(connection)
    lane = await factories.lane(connection, concurrency=places)
    await factories.some_parents(connection, idle, [lane], n=10)
    await fan_out(connection)
    await factories.sync_parent(connection, calling, [lane] * 3)
    await factories.claim(connection, slots=slots)
    assert await running(connection, calling) == (11, 0)
    assert (await running(connection, idle))[1] == min(slots, places) - 3


async def test_a_keys_full_async_load_does_not_stop_its_sync(connection):
    """Sync brings slots of its own: as many as the sync limit beyond the concurrency."""
    owner = await factories.key(connection, concurrency=3, sync_limit=2)
    lane = await factories.lane(connection)
    await factories.some_parents(connection, owner, [lane], n=9)
    await fan_out(connection)
    assert len(await factories.claim(connection)) == 3
    await factories.sync_parent(connection, owner, [lane] * 5)
    assert len(await factories.claim(connection)) == 2
    assert await factories.claim(connection) == []
    assert await running(connection, owner) == (2, 3)


async def test_a_key_never_has_more_than_its_concurrency_and_sync_limit(connection):
    """Nor more async children than its concurrency, in one claim or in several, whatever ends."""
    owner = await factories.key(connection, concurrency=4, sync_limit=2)
    lanes = [await factories.lane(connection, country) for country in ("US", "GB")]
    await factories.some_parents(connection, owner, lanes, n=8)
    await fan_out(connection)
    await factories.sync_parent(connection, owner, lanes * 5)
    claimed = await factories.claim(connection)
    assert await running(connection, owner) == (6, 0)
    for _ in range(7):
        await factories.complete(connection, claimed[:2])
        claimed = claimed[2:] + await claim_all(connection)
        sync, other = await running(connection, owner)
        assert (sync + other, other) == (min(6, sync + 4), min(4, 6 - sync))
    assert await running(connection, owner) == (0, 4)


async def test_one_claim_shares_a_keys_last_slots_between_sync_and_async(connection):
    """What a key's sync children take in a statement its async ones do not take as well."""
    owner = await factories.key(connection, concurrency=4, sync_limit=1)
    lane = await factories.lane(connection)
    await factories.some_parents(connection, owner, [lane], n=8)
    await fan_out(connection)
    await factories.sync_parent(connection, owner, [lane] * 3)
    assert len(await factories.claim(connection)) == 5
    assert await running(connection, owner) == (3, 2)


async def test_a_key_without_a_sync_limit_ends_what_it_still_has(connection):
    """After the limit was lowered to nothing sync children run inside the concurrency."""
    owner = await factories.key(connection, concurrency=2, sync_limit=2)
    lane = await factories.lane(connection)
    await factories.sync_parent(connection, owner, [lane] * 4)
    await keys.set_limits(connection, owner, Limits(concurrency=2, sync_limit=0))
    claimed = await factories.claim(connection)
    assert await running(connection, owner) == (2, 0)
    await factories.complete(connection, claimed)
    assert len(await factories.claim(connection)) == 2


@pytest.mark.parametrize(("limit", "taken"), [(1, 1), (3, 3), (4, 3), (10, 9)])
async def test_async_work_leaves_a_slot_of_a_lane_free_for_sync(connection, limit, taken):
    """In a lane of four or more, over all keys; in a smaller one it may take all there is."""
    lane = await factories.lane(connection, concurrency=limit)
    for _ in range(2):
        owner = await factories.key(connection)
        await factories.some_parents(connection, owner, [lane], n=10)
    await fan_out(connection)
    assert len(await claim_all(connection)) == taken
    await factories.sync_parent(connection, owner, [lane] * 2)
    assert len(await claim_all(connection)) == limit - taken
    load = "SELECT (processing, sync_processing)::text FROM lane_load"
    assert await factories.scalar(connection, load) == f"({limit},{limit - taken})"


async def test_the_slot_left_free_is_free_of_sync_children_too(connection):
    """A sync child that runs does not use up the reserve: async has all other slots but one."""
    lane = await factories.lane(connection, concurrency=6)
    owner = await factories.key(connection)
    await factories.some_parents(connection, owner, [lane], n=10)
    await fan_out(connection)
    await factories.sync_parent(connection, owner, [lane] * 2)
    await factories.claim(connection)
    assert await running(connection, owner) == (2, 4)
    lone = await factories.lane(connection, "GB", concurrency=6)
    other = await factories.key(connection)
    await factories.some_parents(connection, other, [lone], n=10)
    await fan_out(connection)
    await claim_all(connection)
    assert await running(connection, other) == (0, 5)


async def test_a_lane_without_room_for_async_does_not_hide_others(connection):
    """A key's best children wait in a lane with nothing but its sync slot free; the next start."""
    full = await factories.lane(connection, concurrency=4)
    free = await factories.lane(connection, "GB")
    owner = await factories.key(connection)
    await factories.some_parents(connection, owner, [full], n=8, priority=9)
    await fan_out(connection)
    assert len(await factories.claim(connection)) == 3
    await factories.some_parents(connection, owner, [free], n=5, priority=1)
    await fan_out(connection)
    await factories.sync_parent(connection, owner, [free])
    assert len(await factories.claim(connection, slots=4)) == 4


async def test_priority_then_age_among_the_sync_children_of_a_key(connection):
    """As among its async ones."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    old, new = [await factories.sync_parent(connection, owner, [lane]) for _ in range(2)]
    high = await factories.sync_parent(connection, owner, [lane], priority=9)
    order = [(await factories.claim(connection, slots=1))[0].parent_id for _ in range(3)]
    assert order == [high, old, new]


async def test_sync_slots_are_shared_by_what_each_key_has_of_them(connection):
    """A key with much async work running has no smaller part of them."""
    lane = await factories.lane(connection)
    busy, idle = await factories.key(connection), await factories.key(connection)
    await factories.some_parents(connection, busy, [lane], n=20)
    await fan_out(connection)
    await factories.claim(connection, slots=20)
    for owner in (busy, idle):
        await factories.sync_parent(connection, owner, [lane] * 8)
    await factories.claim(connection, slots=8)
    assert await running(connection, busy) == (4, 20)
    assert await running(connection, idle) == (4, 0)


async def test_keys_with_sync_children_take_turns(connection):
    """With one slot and five keys, five slot times serve each key once."""
    lane = await factories.lane(connection)
    owners = [await factories.key(connection) for _ in range(5)]
    for owner in owners:
        await factories.sync_parent(connection, owner, [lane] * 3)
    for _ in range(3):
        served: Counter[object] = Counter()
        for _ in owners:
            (child,) = await factories.claim(connection, slots=1)
            served[child.parent_id] += 1
            await factories.complete(connection, [child])
        assert set(served.values()) == {1}
        assert len(served) == 5


async def test_sync_calls_do_not_cost_a_keys_async_children_their_turn(connection):
    """A key whose sync calls are always the latest served gets its async slot all the same."""
    lane = await factories.lane(connection)
    calling, other = await factories.key(connection), await factories.key(connection)
    for owner in (calling, other):
        await factories.some_parents(connection, owner, [lane], n=4)
    await fan_out(connection)
    for _ in range(4):
        turns: Counter[int] = Counter()
        for _ in range(2):
            await factories.sync_parent(connection, calling, [lane])
            await factories.complete(connection, await factories.claim(connection, slots=1))
            (child,) = await factories.claim(connection, slots=1)
            turns[await factories.scalar(connection, OWNER, child.parent_id)] += 1
            await factories.complete(connection, [child])
        assert turns == {calling.id: 1, other.id: 1}


OWNER = "SELECT key_id FROM parent WHERE id = %s"


async def test_a_sync_child_stays_first_after_a_retry_and_a_rescue(connection, recounted):
    """Whatever brought it back, somebody waits for it."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    await factories.some_parents(connection, owner, [lane], n=5, priority=10)
    await fan_out(connection)
    waited = await factories.sync_parent(connection, owner, [lane], priority=1)
    (child,) = await factories.claim(connection, slots=1)
    await factories.settle(connection, factories.retried(child))
    await recounted()
    await children.stage(connection)
    (child,) = await factories.claim(connection, slots=1, by=4711)
    assert child.parent_id == waited
    async with connection.transaction():
        assert (await children.rescue(connection)).queued == 1
    (child,) = await factories.claim(connection, slots=1)
    assert child.parent_id == waited
    await recounted()


async def test_a_detached_parents_children_keep_their_place(connection):
    """A caller who left has not made its question less urgent: the answer is still asked for."""
    owner = await factories.key(connection, concurrency=1, sync_limit=1)
    lane = await factories.lane(connection)
    await factories.some_parents(connection, owner, [lane], n=2, priority=10)
    await fan_out(connection)
    await factories.claim(connection)
    left = await factories.sync_parent(connection, owner, [lane])
    await connection.execute("UPDATE parent SET mode = 'detached' WHERE id = %s", [left])
    (child,) = await factories.claim(connection)
    assert child.parent_id == left
