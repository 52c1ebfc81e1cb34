from collections import Counter

import pytest

from admission import keys
from admission.limits import Limits
from orchestrator.fanout import fan_out
from orchestrator.store import children
from tests import factories

pytestmark = pytest.mark.anyio


async def running(connection, column: str = "key_id") -> Counter[int]:
    """Children being captured, by key or by lane."""
    by = {
        "key_id": "SELECT key_id, count(*) FROM child WHERE state = 'processing' GROUP BY 1",
        "lane_id": "SELECT lane_id, count(*) FROM child WHERE state = 'processing' GROUP BY 1",
    }
    return Counter(dict(await (await connection.execute(by[column])).fetchall()))


async def test_a_claim_hands_a_child_out_once(connection, recounted):
    """What was claimed is the node's, under its token, its attempt counted, and nobody else's."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    parent = await factories.parent(connection, owner, [lane] * 3)
    await fan_out(connection)
    node = await factories.node(connection)
    claimed = await children.claim(
        connection, node=node, token=2**61, slots=2, surfaces=[factories.SURFACE]
    )
    assert sorted(child[:4] for child in claimed) == [(parent, 1, 1, 2**61), (parent, 2, 1, 2**61)]
    rest = await factories.claim(connection)
    assert [child.ordinal for child in rest] == [3]
    assert await factories.claim(connection) == []
    child = await children.one(connection, parent, 1)
    assert child is not None
    assert (str(child.state), child.attempt) == ("processing", 1)
    assert child.claimed_at is not None
    assert child.claimed_at == child.started_at
    await recounted()


async def test_claiming_nothing_is_no_error(connection):
    """Without keys, lanes, children, slots or surfaces nothing is claimed."""
    assert await factories.claim(connection) == []
    owner = await factories.key(connection)
    await factories.parent(connection, owner, [await factories.lane(connection)])
    assert await factories.claim(connection) == []
    await fan_out(connection)
    assert await factories.claim(connection, slots=0) == []
    assert await factories.claim(connection, surfaces=[]) == []
    assert len(await factories.claim(connection)) == 1


async def test_a_lane_never_has_more_than_its_limit(connection):
    """Over all keys, whatever the slots; what ends makes room."""
    narrow = await factories.lane(connection, concurrency=3)
    wide = await factories.lane(connection, "GB", concurrency=50)
    for _ in range(3):
        owner = await factories.key(connection)
        await factories.some_parents(connection, owner, [narrow, wide], n=10)
    await fan_out(connection)
    claimed = await factories.claim(connection)
    while more := await factories.claim(connection):
        claimed += more
    assert (await running(connection, "lane_id"))[narrow] == 3
    row = "SELECT queued FROM lane_load WHERE lane_id = %s"
    assert await factories.scalar(connection, row, wide) == 0
    await factories.complete(connection, claimed)
    assert len(await factories.claim(connection)) == 3


async def test_a_key_never_has_more_than_its_concurrency(connection):
    """Over all its lanes, also when the limit was lowered below what runs."""
    lanes = [await factories.lane(connection, country) for country in ("US", "GB")]
    owner = await factories.key(connection, concurrency=5)
    await factories.some_parents(connection, owner, lanes, n=10)
    await fan_out(connection)
    claimed = await factories.claim(connection)
    assert len(claimed) == 5
    assert await factories.claim(connection) == []
    await keys.set_limits(connection, owner, Limits(concurrency=3))
    await factories.complete(connection, claimed[:2])
    assert await factories.claim(connection) == []
    await factories.complete(connection, claimed[2:3])
    assert len(await factories.claim(connection)) == 1


async def test_a_lane_limit_lowered_below_what_runs_lets_nothing_start(connection):
    """Running children stay, new ones start when there is room under the new limit."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection, concurrency=3)
    await factories.some_parents(connection, owner, [lane], n=8)
    await fan_out(connection)
    claimed = await factories.claim(connection)
    await connection.execute("UPDATE lane SET concurrency = 1")
    await factories.complete(connection, claimed[:2])
    assert await factories.claim(connection) == []
    await factories.complete(connection, claimed[2:3])
    assert len(await factories.claim(connection)) == 1


async def test_priority_then_age_then_cell_order_inside_a_key(connection):
    """The best child of a key starts first, and a lower lane does not overtake."""
    owner = await factories.key(connection)
    us, gb = await factories.lane(connection), await factories.lane(connection, "GB")
    old = await factories.parent(connection, owner, [gb, us])
    new = await factories.parent(connection, owner, [us])
    high = await factories.parent(connection, owner, [us], priority=9)
    await fan_out(connection)
    order = []
    for _ in range(4):
        order += [(c.parent_id, c.ordinal) for c in await factories.claim(connection, slots=1)]
    assert order == [(high, 1), (old, 1), (old, 2), (new, 1)]


async def test_only_the_surfaces_a_worker_serves_are_claimed(connection):
    """A worker never gets a child it has no adapter for."""
    owner = await factories.key(connection)
    chatgpt = await factories.lane(connection)
    claude = await factories.lane(connection, surface="claude")
    parent = await factories.parent(connection, owner, [chatgpt, claude])
    await fan_out(connection)
    claimed = await factories.claim(connection, surfaces=["claude", "gemini"])
    assert [(child.parent_id, child.ordinal) for child in claimed] == [(parent, 2)]
    assert await factories.claim(connection, surfaces=["claude", "gemini"]) == []
    both = await factories.claim(connection, surfaces=["chatgpt", "claude"])
    assert [child.ordinal for child in both] == [1]


async def test_slots_are_shared_evenly(connection):
    """A key with one parent is served beside one with a thousand."""
    lane = await factories.lane(connection)
    flood, small = await factories.key(connection), await factories.key(connection)
    await factories.some_parents(connection, flood, [lane], n=50)
    await fan_out(connection)
    await factories.some_parents(connection, small, [lane], n=5)
    await fan_out(connection)
    await factories.claim(connection, slots=10)
    assert await running(connection) == {flood.id: 5, small.id: 5}


async def test_slots_are_shared_by_weight(connection):
    """A key of three times the weight has three times as many running."""
    lane = await factories.lane(connection)
    light = await factories.key(connection, weight=1)
    heavy = await factories.key(connection, weight=3)
    for owner in (light, heavy):
        await factories.some_parents(connection, owner, [lane], n=40)
    await fan_out(connection, parents=80)
    await factories.claim(connection, slots=16)
    assert await running(connection) == {light.id: 4, heavy.id: 12}
    for _ in range(4):
        await factories.claim(connection, slots=1)
    assert await running(connection) == {light.id: 5, heavy.id: 15}


async def test_what_a_key_leaves_others_get(connection):
    """Slots a key cannot use go to the keys that can."""
    lane = await factories.lane(connection)
    few = await factories.key(connection)
    capped = await factories.key(connection, concurrency=2)
    many = await factories.key(connection)
    for owner, n in ((few, 1), (capped, 4), (many, 40)):
        await factories.some_parents(connection, owner, [lane], n=n)
    await fan_out(connection)
    assert len(await factories.claim(connection, slots=20)) == 20
    assert await running(connection) == {few.id: 1, capped.id: 2, many.id: 17}


async def test_keys_take_turns_when_there_are_more_of_them_than_slots(connection):
    """With one slot and seven keys, seven slot times serve each key once."""
    lane = await factories.lane(connection)
    owners = [await factories.key(connection) for _ in range(7)]
    for owner in owners:
        await factories.some_parents(connection, owner, [lane], n=5)
    await fan_out(connection)
    for _ in range(3):
        served: Counter[int] = Counter()
        for _ in owners:
            claimed = await factories.claim(connection, slots=1)
            served += await running(connection)
            await factories.complete(connection, claimed)
        assert served == dict.fromkeys((owner.id for owner in owners), 1)


async def test_a_contested_lane_is_shared_by_the_keys_that_want_it(connection):
    """In a lane with few places each key gets its part, not whoever asked most."""
    narrow = await factories.lane(connection, concurrency=5)
    flood, small = await factories.key(connection), await factories.key(connection)
    await factories.some_parents(connection, flood, [narrow], n=6)
    await fan_out(connection)
    await factories.some_parents(connection, small, [narrow], n=2)
    await fan_out(connection)
    await factories.claim(connection)
    assert await running(connection) == {flood.id: 2, small.id: 2}


async def test_children_between_attempts_are_not_claimed(connection):
    """A child that waits for its retry is nobody's until it is staged."""
    owner = await factories.key(connection)
    await factories.parent(connection, owner, [await factories.lane(connection)])
    await fan_out(connection)
    (child,) = await factories.claim(connection)
    await factories.settle(connection, factories.retried(child, 60))
    assert await factories.claim(connection) == []


async def test_what_a_claim_took_can_be_asked_for_by_its_token(connection):
    """A node that never heard the answer learns it, without what was settled since."""
    owner = await factories.key(connection)
    await factories.parent(connection, owner, [await factories.lane(connection)] * 3)
    await fan_out(connection)
    node = await factories.node(connection)
    arguments = {"node": node, "token": 77}
    took = await children.claim(connection, **arguments, slots=2, surfaces=[factories.SURFACE])
    again = await children.claimed(connection, **arguments)
    assert sorted(child[:4] for child in again) == sorted(child[:4] for child in took)
    await factories.complete(connection, took[:1])
    again = await children.claimed(connection, **arguments)
    assert [child[:4] for child in again] == [child[:4] for child in took[1:]]
    assert await children.claimed(connection, node=node, token=78) == []
    assert await children.claimed(connection, node=node + 1, token=77) == []


async def test_claims_in_a_row_fill_every_slot_that_can_be_filled(connection):
    """Many keys that want a lane's last place crowd out another lane's child for one claim only."""
    narrow = await factories.lane(connection, concurrency=10)
    free = await factories.lane(connection, "GB")
    for _ in range(39):
        owner = await factories.key(connection)
        await factories.parent(connection, owner, [narrow])
    await fan_out(connection)
    assert len(await factories.claim(connection, slots=9)) == 9
    late = await factories.key(connection)
    await factories.some_parents(connection, late, [free], n=40)
    await fan_out(connection)
    first = await factories.claim(connection, slots=10)
    assert first
    assert len(first) + len(await factories.claim(connection, slots=10 - len(first))) == 10
