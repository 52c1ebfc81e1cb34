import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from admission import keys
from admission.limits import Limits
from orchestrator.fanout import fan_out
from orchestrator.store import children, counters, waits
from orchestrator.store.counters import Difference
from tests import factories

pytestmark = pytest.mark.anyio


async def test_counters_follow_every_statement(connection, recounted):
    """Admission, fan-out, claim, every outcome, stage, rescue and deletion are all counted."""
    one = await factories.key(connection)
    two = await factories.key(connection)
    us, gb = await factories.lane(connection), await factories.lane(connection, "GB")
    await factories.some_parents(connection, one, [us, gb, us], n=3, priority=3)
    await factories.some_parents(connection, two, [gb], n=2)
    await recounted()
    await fan_out(connection)
    await recounted()
    claimed = await factories.claim(connection, slots=8)
    await recounted()
    outcomes = (
        factories.completed,
        factories.failed,
        factories.retried,
        factories.given_back,
    )
    await factories.settle(
        connection, *(outcomes[n % 4](child) for n, child in enumerate(claimed[:7]))
    )
    await recounted()
    assert (await children.stage(connection)).children == 2
    await recounted()
    await connection.execute("DELETE FROM node")
    async with connection.transaction():
        assert (await children.rescue(connection)).queued == 1
    await recounted()
    await connection.execute("DELETE FROM child WHERE parent_id = %s", [claimed[0].parent_id])
    await recounted()
    await connection.execute("DELETE FROM parent")
    await connection.execute("DELETE FROM child")
    await recounted()
    totals = "SELECT sum(depth + queued + processing + retrying) FROM usage"
    assert await factories.scalar(connection, totals) == 0


async def test_counters_follow_sync_children_and_detached_parents(connection, recounted):
    """Those somebody waits for are counted beside all, whatever happens to them or their caller."""
    owner = await factories.key(connection)
    us, gb = await factories.lane(connection), await factories.lane(connection, "GB")
    counted = """SELECT (depth, queued, processing, retrying, sync_queued, sync_processing,
                           sync_retrying, detached)::text FROM usage"""

    async def usage() -> str:
        await recounted()
        return str(await factories.scalar(connection, counted))

    await factories.parent(connection, owner, [us, gb], priority=3)
    waited = await factories.sync_parent(connection, owner, [us, gb, us], priority=3)
    assert await usage() == "(1,3,0,0,3,0,0,0)"
    await fan_out(connection)
    assert await usage() == "(0,5,0,0,3,0,0,0)"
    backlog = "SELECT (priority, n)::text FROM backlog"
    assert await factories.scalar(connection, backlog) == "(3,5)"
    claimed = await factories.claim(connection, slots=4, by=4711)
    assert await usage() == "(0,1,4,0,0,3,0,0)"
    held = sorted(child for child in claimed if child.parent_id == waited)
    await factories.settle(connection, factories.retried(held[0]), factories.given_back(held[1]))
    assert await usage() == "(0,2,2,1,1,1,1,0)"
    await waits.leave(connection, await factories.waiting_for(connection, waited))
    assert await usage() == "(0,2,2,1,1,1,1,1)"
    await children.stage(connection)
    assert await usage() == "(0,3,2,0,2,1,0,1)"
    async with connection.transaction():
        assert (await children.rescue(connection)).queued == 2
    assert await usage() == "(0,5,0,0,3,0,0,1)"
    await factories.complete(connection, await factories.claim(connection, slots=3))
    assert await usage() == "(0,2,0,0,0,0,0,0)"
    again = await factories.sync_parent(connection, owner, [us])
    await waits.leave(connection, await factories.waiting_for(connection, again))
    await connection.execute("DELETE FROM parent")
    await connection.execute("DELETE FROM child")
    assert await usage() == "(0,0,0,0,0,0,0,0)"


async def test_every_cell_ever_asked_for_is_counted(connection):
    """By key and lane, for life: neither its end nor its deletion takes it back."""
    owner, other = await factories.key(connection), await factories.key(connection)
    us, gb = await factories.lane(connection), await factories.lane(connection, "GB")
    await factories.some_parents(connection, owner, [us, us, gb], n=2)
    await factories.sync_parent(connection, owner, [gb])
    await factories.parent(connection, other, [gb])
    await fan_out(connection)
    await factories.complete(connection, await factories.claim(connection))
    await connection.execute("DELETE FROM parent")
    cursor = await connection.execute("SELECT key_id, lane_id, asked FROM inflight ORDER BY 1, 2")
    assert await cursor.fetchall() == [(owner.id, us, 4), (owner.id, gb, 3), (other.id, gb, 1)]


async def test_a_statement_over_many_rows_counts_each(connection, recounted):
    """One statement that moves rows of several keys, lanes and priorities is counted row by row."""
    lanes = [await factories.lane(connection, country) for country in ("US", "GB", "DE")]
    for priority in (1, 5, 10):
        owner = await factories.key(connection)
        await factories.some_parents(connection, owner, lanes, n=4, priority=priority)
    await connection.execute(
        "UPDATE parent SET state = 'canceled', done = total WHERE priority = 5"
    )
    await recounted()
    await connection.execute("UPDATE parent SET priority = 7 WHERE priority = 1")
    await recounted()
    await fan_out(connection)
    await connection.execute("UPDATE child SET priority = 2, state = 'retrying' WHERE ordinal = 1")
    await recounted()
    await connection.execute("UPDATE child SET lane_id = %s WHERE ordinal = 2", [lanes[0]])
    await recounted()
    await connection.execute("UPDATE child SET priority = priority + 100 WHERE ordinal = 3")
    await recounted()
    await connection.execute("UPDATE parent SET mode = 'detached'")
    await recounted()


async def test_a_statement_that_changes_nothing_counted_writes_no_counter(connection):
    """Rows that change in what is not counted leave the counters' rows untouched."""
    owner = await factories.key(connection)
    await factories.parent(connection, owner, [await factories.lane(connection)])
    await fan_out(connection)
    seen = "SELECT array_agg(xmin::text) FROM usage"
    before = await factories.scalar(connection, seen)
    await connection.execute("UPDATE child SET run_at = now()")
    await connection.execute("UPDATE parent SET started_at = now()")
    assert await factories.scalar(connection, seen) == before


async def test_limits_are_copied_to_usage(connection, recounted):
    """A change of a key's limits is there for admission and claim at once."""
    owner = await factories.key(connection, queue_capacity=3, concurrency=4, weight=2.5)
    copied = "SELECT (capacity, sync_limit, concurrency, weight)::text FROM usage WHERE key_id = %s"
    assert await factories.scalar(connection, copied, owner.id) == "(3,8,4,2.5)"
    limits = Limits(queue_capacity=30, sync_limit=5, concurrency=40, weight=0.5)
    await keys.set_limits(connection, owner, limits)
    assert await factories.scalar(connection, copied, owner.id) == "(30,5,40,0.5)"
    await recounted()


PLANTED = {
    "UPDATE usage SET depth = depth + 1": ("usage.depth", None, 2, 1),
    "UPDATE usage SET queued = queued - 1": ("usage.queued", None, 0, 1),
    "UPDATE usage SET processing = 9": ("usage.processing", None, 9, 0),
    "UPDATE usage SET retrying = 9": ("usage.retrying", None, 9, 0),
    "UPDATE usage SET capacity = 1": ("usage.capacity", None, 1, 1000),
    "UPDATE usage SET concurrency = 1": ("usage.concurrency", None, 1, 50),
    "UPDATE usage SET sync_limit = 9": ("usage.sync_limit", None, 9, 8),
    "UPDATE usage SET detached = 1": ("usage.detached", None, 1, 0),
    "UPDATE usage SET sync_queued = 1": ("usage.sync_queued", None, 1, 0),
    "UPDATE usage SET sync_processing = 1": ("usage.sync_processing", None, 1, 0),
    "UPDATE usage SET sync_retrying = 1": ("usage.sync_retrying", None, 1, 0),
    "UPDATE backlog SET n = 0": ("backlog.n", 5, 0, 2),
    "UPDATE inflight SET waiting = 0": ("inflight.waiting", 1, 0, 1),
    "UPDATE inflight SET queued = 2": ("inflight.queued", 1, 2, 1),
    "UPDATE inflight SET processing = 2": ("inflight.processing", 1, 2, 0),
    "UPDATE inflight SET retrying = 2": ("inflight.retrying", 1, 2, 0),
    "UPDATE inflight SET sync_queued = 2": ("inflight.sync_queued", 1, 2, 0),
    "UPDATE lane_load SET queued = 2": ("lane_load.queued", 1, 2, 1),
    "UPDATE lane_load SET processing = 2": ("lane_load.processing", 1, 2, 0),
    "UPDATE lane_load SET retrying = 2": ("lane_load.retrying", 1, 2, 0),
    "UPDATE lane_load SET sync_processing = 2": ("lane_load.sync_processing", 1, 2, 0),
    "DELETE FROM backlog": ("backlog.n", 5, 0, 2),
}


@pytest.mark.parametrize("fault", PLANTED)
async def test_a_counter_that_lies_is_found(connection, fault):
    """A recount names the counter, its key, its place and both numbers."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    await factories.parent(connection, owner, [lane])
    await fan_out(connection)
    await factories.parent(connection, owner, [lane])
    assert await counters.differences(connection) == []
    await connection.execute(fault)
    name, place, counted, recounted = PLANTED[fault]
    key_id = None if name.startswith("lane_load") else owner.id
    place = lane if place == 1 else place
    assert await counters.differences(connection) == [
        Difference(name, key_id, place, counted, recounted)
    ]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
async def test_counters_equal_a_recount_after_any_mix(connection, recounted, seed):
    """Whatever is done in whatever order, every counter says what a recount says."""
    chance = random.Random(seed)
    owners = [await factories.key(connection, concurrency=chance.randint(1, 9)) for _ in range(3)]
    lanes = [await factories.lane(connection, c, concurrency=4) for c in ("US", "GB", "DE", "FR")]
    held = []
    for _ in range(15):
        match chance.randrange(7):
            case 0:
                cells = chance.choices(lanes, k=chance.randint(1, 5))
                priority = chance.randint(1, 10)
                await factories.parent(connection, chance.choice(owners), cells, priority=priority)
            case 1:
                await fan_out(connection, parents=chance.randint(1, 5))
            case 2:
                held += await factories.claim(connection, slots=chance.randint(1, 9))
            case 3:
                kinds = (factories.completed, factories.failed, factories.retried)
                outcomes = [chance.choice(kinds)(child) for child in held]
                if outcomes:
                    await factories.settle(connection, *outcomes)
                held = []
            case 4:
                await children.stage(connection)
            case 5:
                cells = chance.choices(lanes, k=chance.randint(1, 5))
                await factories.sync_parent(connection, chance.choice(owners), cells, node=1)
            case 6:
                cursor = await connection.execute("SELECT id FROM sync_wait ORDER BY id")
                waiting = [wait for (wait,) in await cursor.fetchall()]
                await waits.leave(connection, chance.sample(waiting, len(waiting) // 2))
        await recounted()
