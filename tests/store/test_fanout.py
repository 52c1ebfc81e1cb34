from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.fanout import fan_out
from orchestrator.store import children, parents
from tests import factories

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def served(connection) -> None:
    """A worker serves the surface: a lane of nobody's counts in no window."""
    await factories.node(connection, age_seconds=-3600)


async def left(connection) -> set[object]:
    """The parents that have left their queues."""
    cursor = await connection.execute("SELECT id FROM parent WHERE state <> 'queued'")
    return {parent for (parent,) in await cursor.fetchall()}


async def finish_all(connection, surfaces=(factories.SURFACE,)) -> int:
    """Claim and complete whatever there is; how many children that were."""
    claimed = await factories.claim(connection, slots=1000, surfaces=surfaces)
    if claimed:
        await factories.complete(connection, claimed)
    return len(claimed)


async def test_a_parent_leaves_its_queue_with_all_its_children(connection):
    """Its cells become queued children in ordinal order, in their lanes, at its priority."""
    owner = await factories.key(connection)
    us, gb = await factories.lane(connection), await factories.lane(connection, "GB")
    made = await factories.parent(connection, owner, [gb, us, us], priority=7)
    assert await fan_out(connection) == 3
    row = await parents.read(connection, key_id=owner.id, parent=made)
    assert row is not None
    assert str(row.state) == "processing"
    assert row.started_at is not None
    cursor = await connection.execute(
        "SELECT ordinal, lane_id, key_id, priority, state, attempt FROM child ORDER BY ordinal"
    )
    assert await cursor.fetchall() == [
        (1, gb, owner.id, 7, "queued", 0),
        (2, us, owner.id, 7, "queued", 0),
        (3, us, owner.id, 7, "queued", 0),
    ]
    assert await fan_out(connection) == 0


async def test_nothing_to_do_is_no_error(connection):
    """A fan-out over nothing makes nothing, also where there are keys and lanes."""
    assert await fan_out(connection) == 0
    await factories.key(connection)
    await factories.lane(connection)
    assert await fan_out(connection) == 0


async def test_priority_then_age_decides_inside_a_key(connection):
    """Higher priority leaves first, then whoever waited longest."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    low = await factories.some_parents(connection, owner, [lane], n=2, priority=1)
    high = await factories.some_parents(connection, owner, [lane], n=2, priority=9)
    order = [*high, *low]
    for n in range(4):
        assert await fan_out(connection, parents=1) == 1
        assert await left(connection) == set(order[: n + 1])


async def test_a_key_has_a_window_of_twice_its_concurrency(connection):
    """Its children queued, running or between attempts stay below it, but for its last parent."""
    owner = await factories.key(connection, concurrency=3)
    lane = await factories.lane(connection)
    await factories.some_parents(connection, owner, [lane], n=10)
    assert await fan_out(connection) == 6
    assert await fan_out(connection) == 0
    claimed = await factories.claim(connection, slots=2)
    assert await fan_out(connection) == 0
    await factories.settle(connection, factories.retried(claimed[0], 60))
    assert await fan_out(connection) == 0
    await factories.complete(connection, claimed[1:])
    assert await fan_out(connection) == 1


async def test_sync_children_take_nothing_of_a_keys_window(connection):
    """Queued, running or between attempts: its async parents leave as if they were not there."""
    owner = await factories.key(connection, concurrency=3)
    lane = await factories.lane(connection)
    await factories.sync_parent(connection, owner, [lane] * 12)
    claimed = await factories.claim(connection)
    assert len(claimed) == 3 + owner.limits.sync_limit
    await factories.settle(connection, factories.retried(claimed[0], 60))
    await factories.some_parents(connection, owner, [lane], n=10)
    assert await fan_out(connection) == 6
    assert await fan_out(connection) == 0


async def test_a_key_with_nothing_but_sync_children_counts_as_idle(connection):
    """Its first parent may go up to four times a lane's limit, as that of any idle key."""
    lane = await factories.lane(connection, concurrency=2)
    flood, calling = await factories.key(connection), await factories.key(connection)
    await factories.some_parents(connection, flood, [lane], n=50)
    await fan_out(connection)
    await factories.sync_parent(connection, calling, [lane])
    await factories.some_parents(connection, calling, [lane], n=2)
    assert await fan_out(connection) == 1


async def test_counting_what_leaves_a_queue_begins_anew_after_a_pause(connection):
    """While parents leave, the beginning stays; once what was counted is as good as gone, not."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    seen = "SELECT (drained_from, drained_at)::text FROM usage"
    began = "SELECT drained_from = drained_at FROM usage"
    await factories.some_parents(connection, owner, [lane], n=3)
    await fan_out(connection, parents=1)
    assert await factories.scalar(connection, began)
    first = await factories.scalar(connection, seen)
    await fan_out(connection, parents=1)
    assert not await factories.scalar(connection, began)
    second = await factories.scalar(connection, seen)
    assert first.split(",")[0] == second.split(",")[0]
    await connection.execute(
        "UPDATE usage SET drained_at = drained_at - 300, drained_from = drained_from - 300"
    )
    await fan_out(connection, parents=1)
    assert await factories.scalar(connection, began)


async def test_a_wide_parent_leaves_while_its_key_has_any_room(connection):
    """The window asks for a place, not for as many as the parent has cells."""
    owner = await factories.key(connection, concurrency=1)
    lane = await factories.lane(connection)
    await factories.parent(connection, owner, [lane])
    await factories.parent(connection, owner, [lane] * 20)
    await factories.parent(connection, owner, [lane])
    assert await fan_out(connection) == 21
    assert await fan_out(connection) == 0


async def test_a_lane_has_a_window_of_twice_its_limit(connection):
    """Over all keys, inside one statement and over several."""
    lane = await factories.lane(connection, concurrency=4)
    for _ in range(2):
        owner = await factories.key(connection)
        await factories.some_parents(connection, owner, [lane], n=20)
    assert await fan_out(connection) == 8
    assert await fan_out(connection) == 0
    await factories.complete(connection, await factories.claim(connection, slots=3))
    assert await fan_out(connection) == 3


async def test_an_idle_key_may_go_up_to_four_times_the_limit_for_its_first_parent(connection):
    """Otherwise wide parents would never leave while another key floods one of their lanes."""
    us = await factories.lane(connection, concurrency=2)
    gb = await factories.lane(connection, "GB", concurrency=2)
    flood, wide = await factories.key(connection), await factories.key(connection)
    await factories.some_parents(connection, flood, [us], n=50)
    await fan_out(connection)
    made = await factories.some_parents(connection, wide, [us, gb], n=2)
    assert await fan_out(connection) == 2
    assert made[0] in await left(connection)
    assert await fan_out(connection) == 0


async def test_even_idle_keys_stop_at_four_times_the_limit(connection):
    """The hot set is bounded by the lanes' limits, however many keys there are."""
    lane = await factories.lane(connection, concurrency=2)
    for _ in range(15):
        owner = await factories.key(connection)
        await factories.some_parents(connection, owner, [lane], n=2)
    born = [await fan_out(connection) for _ in range(4)]
    assert sum(born) == 8
    assert born[-1] == 0


async def test_a_parent_with_several_cells_in_one_lane_counts_each(connection):
    """A parent passes while the cells ranked before it leave room, whatever it brings itself."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection, concurrency=5)
    made = await factories.some_parents(connection, owner, [lane] * 4, n=9)
    born = await fan_out(connection)
    assert born == 12
    assert await left(connection) == set(made[:3])
    assert await fan_out(connection) == 0


async def test_a_parent_wider_than_its_lane_still_leaves(connection):
    """Cities share a lane: a parent with more cells there than any window is not stuck for ever."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection, concurrency=1)
    made = await factories.some_parents(connection, owner, [lane] * 30, n=2)
    assert await fan_out(connection) == 30
    assert await left(connection) == {made[0]}
    assert await fan_out(connection) == 0


async def test_a_full_lane_holds_back_only_who_needs_it(connection):
    """Parents for other lanes go past it, whatever their priority."""
    owner = await factories.key(connection)
    full = await factories.lane(connection, concurrency=0)
    free = await factories.lane(connection, "GB")
    await factories.parent(connection, owner, [free, full], priority=10)
    passing = await factories.parent(connection, owner, [free], priority=1)
    assert await fan_out(connection) == 1
    assert await left(connection) == {passing}


async def test_keys_take_turns_by_what_they_have_in_flight(connection):
    """The key with the least in flight per weight goes first."""
    lane = await factories.lane(connection)
    busy, idle = await factories.key(connection), await factories.key(connection)
    await factories.some_parents(connection, busy, [lane], n=3)
    assert await fan_out(connection, parents=2) == 2
    first = await factories.parent(connection, idle, [lane])
    assert await fan_out(connection, parents=1) == 1
    assert first in await left(connection)


async def test_weights_share_out_the_windows(connection):
    """Of two keys with work, the one of twice the weight fans out twice as much."""
    lane = await factories.lane(connection)
    light = await factories.key(connection, weight=1)
    heavy = await factories.key(connection, weight=2)
    for owner in (light, heavy):
        await factories.some_parents(connection, owner, [lane], n=30)
    for _ in range(30):
        await fan_out(connection, parents=1)
    cursor = await connection.execute("SELECT key_id, count(*) FROM child GROUP BY 1")
    assert dict(await cursor.fetchall()) == {light.id: 10, heavy.id: 20}


async def test_every_key_with_a_backlog_is_served(connection):
    """30 keys with deep backlogs and a few slots: nobody is left out, a late key neither."""
    lane = await factories.lane(connection, concurrency=4)
    owners = [await factories.key(connection) for _ in range(30)]
    for owner in owners:
        await factories.some_parents(connection, owner, [lane], n=30)

    async def rounds(n: int) -> Counter[int]:
        served: Counter[int] = Counter()
        for _ in range(n):
            await fan_out(connection)
            claimed = await factories.claim(connection, slots=4)
            cursor = await connection.execute(
                "SELECT key_id, count(*) FROM child WHERE state = 'processing' GROUP BY 1"
            )
            served.update(dict(await cursor.fetchall()))
            await factories.complete(connection, claimed)
        return served

    served = await rounds(60)
    assert set(served) == {owner.id for owner in owners}
    assert max(served.values()) <= 2 * min(served.values())
    late = await factories.key(connection)
    await factories.some_parents(connection, late, [lane], n=30)
    assert late.id in await rounds(20)


async def test_two_hundred_parents_that_cannot_leave_hide_no_other_key(connection):
    """A key whose best parents all need a full lane does not keep other keys from being served."""
    full = await factories.lane(connection, concurrency=0)
    free = await factories.lane(connection, "GB")
    stuck, other = await factories.key(connection), await factories.key(connection)
    await factories.some_parents(connection, stuck, [full], n=250)
    await factories.parent(connection, other, [free])
    assert await fan_out(connection) == 1


async def test_keys_looked_at_in_vain_do_not_hide_those_behind_them(connection):
    """More keys than one look takes, all behind a full lane: the next look reaches the others."""
    full = await factories.lane(connection, concurrency=0)
    free = await factories.lane(connection, "GB")
    await connection.execute(
        "INSERT INTO api_key (name, role, requests_per_minute, sync_limit, queue_capacity,"
        " concurrency, weight) SELECT 'stuck ' || n, 'client', 60, 1, 10, 5, 1"
        " FROM generate_series(1, 210) n"
    )
    await connection.execute(
        "INSERT INTO parent (id, key_id, priority, lanes, total, payload)"
        " SELECT gen_random_uuid(), id, 5, ARRAY[%s::int], 1, '{}' FROM api_key",
        [full],
    )
    last = await factories.key(connection)
    await factories.parent(connection, last, [free])
    await connection.execute("UPDATE usage SET fan_turn = 1 WHERE key_id = %s", [last.id])
    assert sum([await fan_out(connection) for _ in range(2)]) == 1


widths = st.lists(st.integers(0, 3), min_size=1, max_size=12)
asked = st.tuples(widths, st.integers(1, 10))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limits=st.lists(st.integers(1, 5), min_size=4, max_size=4),
    keys=st.lists(
        st.tuples(st.integers(1, 4), st.lists(asked, min_size=1, max_size=6)),
        min_size=1,
        max_size=3,
    ),
)
async def test_whatever_waits_leaves_in_the_end(connection, recounted, limits, keys):
    """Any widths, lanes, limits and priorities: fan out, claim and settle till nothing is left."""
    lanes = [await factories.lane(connection, f"S{n}") for n in range(4)]
    for lane, limit in zip(lanes, limits, strict=True):
        await connection.execute("UPDATE lane SET concurrency = %s WHERE id = %s", [limit, lane])
    for concurrency, wanted in keys:
        owner = await factories.key(connection, concurrency=concurrency)
        for width, priority in wanted:
            cells = [lanes[place] for place in width]
            await factories.parent(connection, owner, cells, priority=priority)
    for _ in range(200):
        await fan_out(connection)
        if not await finish_all(connection):
            break
    live = "SELECT count(*) FROM parent WHERE state IN ('queued', 'processing')"
    assert await factories.scalar(connection, live) == 0
    await recounted()
    assert (await children.stage(connection)).next_seconds is None
