"""Strands: a lane that is full or shut holds back the parents that need it, and nobody else."""

import pytest

from admission.policy import LONGEST_WAIT_SECONDS, SPREAD_SECONDS
from orchestrator import snapshot
from orchestrator.fanout import LOOK_STRANDS, PASSED_OVER_SECONDS, fan_out
from orchestrator.store import lanes, parents, steering, strands
from orchestrator.store.lanes import Place
from orchestrator.store.lanes.read import PAUSED_SECONDS
from tests import factories

pytestmark = pytest.mark.anyio

OPEN = "UPDATE lane SET open_until = now() + interval '1 hour', failures = 10 WHERE id = %s"
HALF_OPEN = "UPDATE lane SET open_until = now() - interval '1 second' WHERE id = %s"
PAUSED = "UPDATE lane SET paused_at = now() WHERE id = %s"
WORKS = "UPDATE lane SET open_until = NULL, paused_at = NULL WHERE id = %s"
PASS_OVER = "UPDATE strand SET since = since - %s"


@pytest.fixture(autouse=True)
async def served(connection) -> None:
    """A worker serves the surface: a lane of nobody's counts in no window."""
    await factories.node(connection, age_seconds=-3600)


async def left(connection) -> set[object]:
    """The parents that have left their queues."""
    cursor = await connection.execute("SELECT id FROM parent WHERE state = 'processing'")
    return {parent for (parent,) in await cursor.fetchall()}


async def rows(connection, owner) -> list[tuple[int, list[int], int]]:
    """The strands of a key: priority, lanes and parents."""
    cursor = await connection.execute(
        "SELECT priority, lanes, n FROM strand WHERE key_id = %s AND waiting ORDER BY 1, 2",
        [owner.id],
    )
    return await cursor.fetchall()


@pytest.fixture
async def owner(connection):
    return await factories.key(connection, concurrency=500, queue_capacity=1000)


@pytest.fixture
async def dead(connection) -> int:
    return await factories.lane(connection, "US", concurrency=100)


@pytest.fixture
async def sound(connection) -> int:
    return await factories.lane(connection, "GB", concurrency=100)


async def test_parents_of_equal_lanes_and_priority_are_one_strand(
    connection, owner, dead, sound, recounted
):
    """However many there are; a lane named twice is named once."""
    await factories.some_parents(connection, owner, [dead, sound], n=30)
    await factories.some_parents(connection, owner, [dead, dead], n=20)
    await factories.some_parents(connection, owner, [dead], n=10, priority=7)
    assert await rows(connection, owner) == [
        (5, [dead], 20),
        (5, sorted([dead, sound]), 30),
        (7, [dead], 10),
    ]
    await recounted()


async def test_a_retry_waits_for_the_lanes_of_what_runs_again(
    connection, owner, dead, sound, recounted
):
    """The cells that are kept need no lane."""
    parent = await factories.parent(connection, owner, [dead, sound])
    await fan_out(connection)
    bad, good = sorted(await factories.claim(connection), key=lambda child: child.ordinal)
    await factories.settle(connection, factories.failed(bad), factories.completed(good))
    async with connection.transaction():
        found = await steering.retryable(
            connection, key_id=owner.id, parent=parent, statuses=("failed",), ordinal=None
        )
        assert isinstance(found, steering.Again)
        await steering.again(connection, found)
    assert await rows(connection, owner) == [(5, [dead], 1)]
    await connection.execute(PAUSED, [sound])
    assert await fan_out(connection) == 1
    await recounted()


@pytest.mark.parametrize("shut", [OPEN, PAUSED], ids=["breaker", "pause"])
async def test_a_shut_lane_keeps_those_that_need_it_and_no_others(
    connection, owner, dead, sound, shut
):
    """However many wait for it, and although they came first; idle keys do not pass either."""
    await factories.some_parents(connection, owner, [dead], n=300)
    wide = await factories.parent(connection, owner, [dead, sound])
    after = await factories.some_parents(connection, owner, [sound], n=20)
    await connection.execute(shut, [dead])
    assert await fan_out(connection) == 20
    assert await left(connection) == set(after)
    assert await fan_out(connection) == 0
    await connection.execute(WORKS, [dead])
    await fan_out(connection, parents=1000)
    assert wide not in await left(connection), "it has its turn, behind what came before"
    assert len(await left(connection)) > 100


async def test_what_a_paused_or_broken_lane_keeps_stays_although_passed_over(
    connection, owner, dead
):
    """Ten seconds or ten hours: nothing could start."""
    await factories.some_parents(connection, owner, [dead], n=3)
    await connection.execute(OPEN, [dead])
    await connection.execute(PASS_OVER, [3600.0])
    assert await fan_out(connection) == 0


async def test_a_half_open_lane_lets_out_one_parent(connection, owner, dead, recounted):
    """The probe. Nothing else before it is over, not even another key's first."""
    await factories.some_parents(connection, owner, [dead], n=5)
    other = await factories.key(connection)
    await factories.parent(connection, other, [dead])
    await connection.execute(HALF_OPEN, [dead])
    assert await fan_out(connection) == 1
    assert await fan_out(connection) == 0
    (probe,) = await factories.claim(connection)
    assert await fan_out(connection) == 0
    await factories.settle(connection, factories.retried(probe, 3600))
    assert await fan_out(connection) == 0, "what is tried again is the next probe"
    await recounted()


async def test_a_full_lane_does_not_keep_what_needs_another(connection, owner, sound):
    """A slow upstream costs only what needs it, though 300 parents for it came first."""
    slow = await factories.lane(connection, "FR", concurrency=1)
    await factories.some_parents(connection, owner, [slow], n=300, priority=9)
    await fan_out(connection)
    after = await factories.some_parents(connection, owner, [sound], n=10)
    before = await left(connection)
    assert await fan_out(connection) == 10
    assert await left(connection) - before == set(after)


async def test_a_lane_with_little_room_does_not_crowd_out_another(connection, owner, sound):
    """In one round too: no more of a strand are looked at than its lane has room for."""
    slow = await factories.lane(connection, "FR", concurrency=1)
    await factories.some_parents(connection, owner, [slow], n=300, priority=9)
    after = await factories.some_parents(connection, owner, [sound], n=10)
    assert await fan_out(connection) == 2 + 10
    assert await left(connection) >= set(after)


async def test_keys_share_a_full_lane_by_their_weights(connection):
    """Three to one, in what leaves the queues and so in what is done."""
    lane = await factories.lane(connection, "FR", concurrency=13)  # one is left to sync work
    light, heavy = [await factories.key(connection, weight=weight) for weight in (1, 3)]
    for owner in (light, heavy):
        await factories.some_parents(connection, owner, [lane], n=500)
    for _ in range(25):
        while await fan_out(connection):
            pass
        await factories.complete(connection, await factories.claim(connection, slots=13))
    done = "SELECT count(*) FROM parent WHERE state = 'completed' AND key_id = %s"
    one, three = [await factories.scalar(connection, done, key.id) for key in (light, heavy)]
    assert one + three > 250
    assert three / one == pytest.approx(3, rel=0.1)


async def test_a_lanes_rate_narrows_its_window(connection, owner):
    """No more leaves than it may start in a few seconds."""
    await factories.lane(connection, "FR", concurrency=100)
    await connection.execute("UPDATE lane SET rate = 1 WHERE country = 'FR'")
    slow = await factories.lane(connection, "FR")
    await factories.some_parents(connection, owner, [slow], n=30)
    for _ in range(3):
        await fan_out(connection)
    assert len(await left(connection)) == 2 * (1 + 1)


@pytest.mark.parametrize(
    "how",
    [
        "paused_at = now()",
        "open_until = now() + interval '1 hour'",
        "rate = 5",
        "not_before = now() + interval '1 hour'",
        "limited = 1",
        "adaptive = 1",
        "surface = 'unserved'",
    ],
)
async def test_what_is_ready_in_a_lane_that_cannot_start_it_keeps_no_other_work_back(
    connection, dead, sound, how
):
    """It left the queue before the lane was shut, or waits for its rate: the window is free."""
    owner = await factories.key(connection, concurrency=10)
    await factories.some_parents(connection, owner, [dead], n=40)
    await fan_out(connection)
    assert await fan_out(connection) == 0, "the key's window is full"
    await factories.some_parents(connection, owner, [sound], n=15)
    assert await fan_out(connection) == 0
    await connection.execute(f"UPDATE lane SET {how} WHERE id = %s", [dead])
    before = await left(connection)
    while await fan_out(connection):
        pass
    lane = "SELECT lanes[1] FROM parent WHERE id = ANY(%s)"
    after = [*(await left(connection) - before)]
    rows = await (await connection.execute(lane, [after])).fetchall()
    assert [lane for (lane,) in rows].count(sound) == 15


async def test_a_lane_that_starts_what_it_has_is_part_of_its_keys_window(connection):
    """However much that is: a parent may have more cells in one lane than the lane has room for."""
    owner = await factories.key(connection, concurrency=10)
    narrow = [
        await factories.lane(connection, name, concurrency=2) for name in ("DE", "IT", "ES", "PT")
    ]
    for lane in narrow:
        await factories.some_parents(connection, owner, [lane] * 40, n=2)
    while await fan_out(connection):
        pass
    assert len(await left(connection)) == 1


async def test_who_has_nothing_but_what_a_shut_lane_keeps_is_idle(connection, dead):
    """Its first parent leaves past the window of a full lane, as that of any key without work."""
    shared = await factories.lane(connection, "FR", concurrency=2)
    await busy(connection, await factories.key(connection), shared)
    owner = await factories.key(connection, concurrency=10)
    await factories.some_parents(connection, owner, [dead], n=15)
    await fan_out(connection)
    await connection.execute(PAUSED, [dead])
    first = await factories.parent(connection, owner, [shared])
    await fan_out(connection)
    assert first in await left(connection)


async def test_what_is_ready_in_a_shut_lane_costs_its_key_no_turn_elsewhere(connection, dead):
    """Two keys share a lane evenly, though one of them has much in another that is paused."""
    shared = await factories.lane(connection, "FR", concurrency=13)
    one, other = [await factories.key(connection, queue_capacity=1000) for _ in range(2)]
    await factories.some_parents(connection, one, [dead], n=40)
    await fan_out(connection)
    await connection.execute(PAUSED, [dead])
    for each in (one, other):
        await factories.some_parents(connection, each, [shared], n=300)
    for _ in range(10):
        while await fan_out(connection):
            pass
        await factories.complete(connection, await factories.claim(connection))
    done = "SELECT count(*) FROM parent WHERE state = 'completed' AND key_id = %s"
    first, second = [await factories.scalar(connection, done, key.id) for key in (one, other)]
    assert first + second > 100
    assert first / second == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("how", [PAUSED, "SELECT %s"], ids=["shut", "full"])
async def test_any_number_of_strands_that_cannot_leave_hides_no_other(
    connection, owner, sound, how
):
    """Each with lanes of its own, all with the one that is shut or full, all before what can."""
    kept = await factories.lane(connection, "FR", concurrency=1)
    await busy(connection, owner, kept)
    others = [await factories.lane(connection, name) for name in ("DE", "IT", "ES", "PT", "NL")]
    others += [await factories.lane(connection, name) for name in ("BE", "SE", "NO")]
    before = await left(connection)
    for chosen in range(LOOK_STRANDS + 10):
        lanes_of = [lane for n, lane in enumerate(others) if chosen >> n & 1]
        await factories.parent(connection, owner, [kept, *lanes_of], priority=7)
    after = await factories.some_parents(connection, owner, [sound], n=10, priority=3)
    await connection.execute(how, [kept])
    assert await fan_out(connection) == 10
    assert await left(connection) - before == set(after)


async def busy(connection, owner, lane: int) -> None:
    """A key with something in flight, and a lane whose window is full."""
    await factories.some_parents(connection, owner, [lane], n=30)
    for _ in range(3):
        await fan_out(connection)


async def test_who_is_passed_over_for_ten_seconds_leaves_although_lanes_are_full(
    connection, owner, sound
):
    """A wide parent among narrow ones: one at a time, past the window of the lane that is full."""
    slow = await factories.lane(connection, "FR", concurrency=2)
    await busy(connection, owner, slow)
    wide = await factories.some_parents(connection, owner, [sound, slow], n=2)
    assert await fan_out(connection) == 0
    await connection.execute(PASS_OVER, [PASSED_OVER_SECONDS - 5])
    assert await fan_out(connection) == 0
    await connection.execute(PASS_OVER, [6.0])
    await connection.execute("UPDATE strand SET since = since + 60 WHERE cardinality(lanes) = 1")
    await connection.execute("UPDATE usage SET fan_turn = 0")
    assert await fan_out(connection) == 2
    assert await fan_out(connection) == 0, "none of its strand for ten seconds more"
    assert await left(connection) & set(wide) == {wide[0]}


async def test_what_one_key_has_passed_over_leaves_idle_keys_their_place(connection, owner):
    """However many strands it has: one of them goes past the window each ten seconds."""
    slow = await factories.lane(connection, "FR", concurrency=2)
    others = [await factories.lane(connection, name) for name in ("DE", "IT", "ES", "PT")]
    await busy(connection, owner, slow)
    for chosen in range(1, 16):
        await factories.parent(
            connection, owner, [slow, *(lane for n, lane in enumerate(others) if chosen >> n & 1)]
        )
    await connection.execute(PASS_OVER, [60.0])
    before = await left(connection)
    for _ in range(15):
        await connection.execute("UPDATE usage SET fan_turn = 0")
        await fan_out(connection)
    assert len(await left(connection) - before) == 1
    await connection.execute("UPDATE usage SET fan_turn = 0, fan_passed = fan_passed - 11")
    await fan_out(connection)
    assert len(await left(connection) - before) == 2
    idle = await factories.parent(connection, await factories.key(connection), [slow])
    assert await fan_out(connection) == 1
    assert idle in await left(connection)


async def test_of_several_strands_the_one_passed_over_for_longest_leaves(connection, owner, sound):
    """Whatever its priority."""
    slow = await factories.lane(connection, "FR", concurrency=2)
    await busy(connection, owner, slow)
    late = await factories.parent(connection, owner, [slow, sound], priority=10)
    early = await factories.parent(connection, owner, [slow, sound], priority=1)
    await connection.execute(PASS_OVER, [60.0])
    await connection.execute("UPDATE strand SET since = since - 60 WHERE priority = 1")
    await connection.execute("UPDATE strand SET since = since + 3600 WHERE cardinality(lanes) = 1")
    await connection.execute("UPDATE usage SET fan_turn = 0")
    assert await fan_out(connection) == 2
    assert {early, late} & await left(connection) == {early}


async def test_there_is_an_end_to_what_leaves_past_a_window(connection, sound):
    """Passed over or not: at eight times its limit a lane takes no more."""
    slow = await factories.lane(connection, "FR", concurrency=1)
    for _ in range(20):
        owner = await factories.key(connection)
        await factories.some_parents(connection, owner, [slow], n=3)
    for _ in range(20):
        await connection.execute(PASS_OVER, [60.0])
        await connection.execute("UPDATE usage SET fan_turn = 0")
        await fan_out(connection)
    assert len(await left(connection)) == 8


async def test_a_new_strand_is_looked_at_before_keys_that_wait_in_vain(connection, owner, sound):
    """Its key comes first, however many are in the row."""
    await factories.some_parents(connection, owner, [sound], n=1)
    await connection.execute("UPDATE usage SET fan_turn = 7")
    other = await factories.lane(connection, "FR")
    await factories.some_parents(connection, owner, [sound], n=1)
    turn = "SELECT fan_turn FROM usage WHERE key_id = %s"
    assert await factories.scalar(connection, turn, owner.id) == 7
    await factories.some_parents(connection, owner, [other], n=1)
    assert await factories.scalar(connection, turn, owner.id) == 0


async def test_the_snapshot_says_what_lanes_hold(connection, owner, dead, sound):
    """Each shut lane with the parents that need it; those with a delay are not held by a lane."""
    await factories.some_parents(connection, owner, [dead], n=4)
    await factories.some_parents(connection, owner, [dead, sound], n=3, priority=2)
    await factories.new_waiting(connection, owner, [dead], delay=60)
    assert (await snapshot.take(connection, owner.id)).admission_queue.held == ()
    await connection.execute(OPEN, [dead])
    await connection.execute(PAUSED, [sound])
    held = (await snapshot.take(connection, owner.id)).admission_queue.held
    assert [(h.region, h.parents, h.reason, h.until is None) for h in held] == [
        ("GB", 3, "lane_paused", True),
        ("US", 7, "breaker_open", False),
    ]
    other = await factories.key(connection)
    assert (await snapshot.take(connection, other.id)).admission_queue.held == ()
    await connection.execute(HALF_OPEN, [dead])
    (_, broken) = (await snapshot.take(connection, owner.id)).admission_queue.held
    assert (broken.reason, broken.until) == ("breaker_open", None)


async def test_a_queue_that_lanes_keep_resumes_with_the_next_probe(connection, owner, dead, sound):
    """Only when they keep most of it, and of several the lane that keeps the most."""
    await factories.some_parents(connection, owner, [dead], n=4)
    await factories.some_parents(connection, owner, [sound], n=4)
    assert await strands.resumes(connection, [owner.id]) == {}
    await connection.execute(OPEN, [dead])
    assert await strands.resumes(connection, [owner.id]) == {}, "half of it is not most of it"
    await factories.some_parents(connection, owner, [dead], n=1)
    found = await strands.resumes(connection, [owner.id])
    assert found[owner.id] == pytest.approx(3600, abs=30)
    await connection.execute(HALF_OPEN, [dead])
    assert await strands.resumes(connection, [owner.id]) == {owner.id: 0.0}
    await connection.execute(PAUSED, [sound])
    await factories.some_parents(connection, owner, [sound], n=2)
    assert await strands.resumes(connection, [owner.id]) == {owner.id: PAUSED_SECONDS}


async def test_a_refusal_by_a_held_queue_says_when_the_lane_is_tried_again(connection, dead):
    """Not by how fast the queue moved before; and who is refused next comes a little later."""
    owner = await factories.key(connection, queue_capacity=3)
    await factories.some_parents(connection, owner, [dead], n=3)
    await connection.execute(
        "UPDATE lane SET open_until = clock_timestamp() + interval '8 seconds' WHERE id = %s",
        [dead],
    )
    first = await factories.refused(connection, owner)
    assert first.retry_after_seconds in {8, 9}
    for _ in range(20):
        last = await factories.refused(connection, owner)
    assert last.retry_after_seconds in {9, 10, 11}
    await connection.execute(PAUSED, [dead])
    paused = await factories.refused(connection, owner)
    assert paused.retry_after_seconds >= LONGEST_WAIT_SECONDS - SPREAD_SECONDS
    assert paused.retry_after_seconds <= LONGEST_WAIT_SECONDS


async def test_empty_strands_are_swept_away_after_a_while(connection, owner, dead, recounted):
    """Those with parents stay, and one that begins again counts from where it is."""
    await factories.some_parents(connection, owner, [dead], n=1)
    kept = await factories.some_parents(connection, owner, [dead], n=1, priority=8)
    await connection.execute("UPDATE parent SET state = 'processing' WHERE priority = 5")
    assert await strands.sweep(connection) == 0, "it was empty for a moment only"
    await connection.execute(PASS_OVER, [7200.0])
    assert await strands.sweep(connection) == 1
    assert await rows(connection, owner) == [(8, [dead], 1)]
    await factories.some_parents(connection, owner, [dead], n=2)
    assert await rows(connection, owner) == [(5, [dead], 2), (8, [dead], 1)]
    assert await parents.read(connection, key_id=owner.id, parent=kept[0])
    await recounted()


async def test_a_lane_that_is_resumed_lets_its_parents_go(connection, owner, dead):
    """Pause, resume: nobody had to be marked, nobody has to be found again."""
    await factories.some_parents(connection, owner, [dead], n=5)
    place = Place(factories.SURFACE, "US")
    await lanes.pause(connection, place, paused=True)
    assert await fan_out(connection) == 0
    await lanes.pause(connection, place, paused=False)
    assert await fan_out(connection) == 5
