import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import snapshot
from orchestrator.fanout import fan_out
from tests import factories

pytestmark = pytest.mark.anyio

DELAY = "UPDATE parent SET state = 'delayed', not_before = now() WHERE state = 'queued'"
READY = "UPDATE parent SET state = 'queued' WHERE state = 'delayed'"
CELLS = """
SELECT coalesce(sum(total - done), 0) FROM parent
WHERE state IN ('queued', 'delayed', 'processing') AND key_id = %s
"""
WAITING = "SELECT count(*) FROM parent WHERE state IN ('queued', 'delayed') AND key_id = %s"
DELAYED = "SELECT count(*) FROM parent WHERE state = 'delayed' AND key_id = %s"
RESERVED = """
SELECT coalesce(sum(places), 0) FROM reservation WHERE expires_at > now() AND key_id = %s
"""
EXPIRE = "UPDATE reservation SET expires_at = now()"


async def test_the_snapshot_of_a_new_key_is_all_room(connection):
    """Nothing waits, nothing runs, everything may still be sent."""
    owner = await factories.key(connection, queue_capacity=7, sync_limit=3, concurrency=5)
    seen = await snapshot.take(connection, owner.id)
    assert (seen.admission_queue.depth, seen.admission_queue.capacity) == (0, 7)
    assert seen.admission_queue.oldest_age_seconds is None
    assert seen.inflight.total == 0
    assert (seen.inflight.by_surface, seen.inflight.by_region) == ({}, {})
    assert seen.priority_breakdown == ()
    assert (seen.headroom.asynchronous, seen.headroom.sync) == (7, 3)
    assert (seen.concurrency.used, seen.concurrency.max) == (0, 8)


async def test_cells_are_counted_where_they_are(connection):
    """Waiting with their parent, queued or between attempts, or being captured."""
    owner, other = await factories.key(connection), await factories.key(connection)
    us, gb = await factories.lane(connection), await factories.lane(connection, "GB")
    claude = await factories.lane(connection, surface="claude")
    await factories.parent(connection, owner, [us, gb, claude], priority=9)
    await fan_out(connection)
    claimed = await factories.claim(connection, slots=2)
    await factories.settle(connection, factories.retried(claimed[0], 60))
    await factories.parent(connection, owner, [us, us], priority=1)
    await factories.parent(connection, other, [us])
    seen = await snapshot.take(connection, owner.id)
    assert (seen.admission_queue.depth, seen.admission_queue.waiting) == (1, 1)
    flight = seen.inflight
    assert (flight.waiting, flight.queued, flight.processing, flight.total) == (2, 2, 1, 5)
    assert flight.by_surface == {"chatgpt": 4, "claude": 1}
    assert flight.by_region == {"GB": 1, "US": 4}
    assert [(level.priority, level.count) for level in seen.priority_breakdown] == [
        (9, 2),
        (1, 2),
    ]


async def test_the_oldest_waiting_parent_is_found_at_any_priority(connection):
    """Its age is that of the one that came first, not of the one that leaves first."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    old = await factories.parent(connection, owner, [lane], priority=1)
    await factories.parent(connection, owner, [lane], priority=10)
    await connection.execute(
        "UPDATE parent SET created_at = now() - interval '100 seconds' WHERE id = %s", [old]
    )
    seen = await snapshot.take(connection, owner.id)
    assert seen.admission_queue.oldest_age_seconds is not None
    assert 100 <= seen.admission_queue.oldest_age_seconds < 200


async def test_what_is_reserved_and_what_is_delayed_hold_places_too(connection):
    """Depth is every place taken: parents that wait, delayed ones with them, and reservations."""
    owner = await factories.key(connection, queue_capacity=20)
    lane = await factories.lane(connection)
    await factories.some_parents(connection, owner, [lane], n=3)
    await connection.execute("UPDATE parent SET state = 'delayed', not_before = now()")
    delayed = (await snapshot.take(connection, owner.id)).admission_queue
    assert (delayed.depth, delayed.waiting, delayed.delayed) == (3, 3, 3)
    assert delayed.oldest_age_seconds is None
    await factories.parent(connection, owner, [lane])
    for places in (4, 5):
        await factories.reservation(connection, owner, places)
    seen = await snapshot.take(connection, owner.id)
    queue = seen.admission_queue
    assert (queue.depth, queue.waiting, queue.reserved, queue.delayed) == (13, 4, 9, 3)
    assert queue.oldest_age_seconds is not None
    assert seen.headroom.asynchronous == 7
    assert seen.inflight.waiting == 4
    await connection.execute("UPDATE reservation SET expires_at = now() WHERE places = 5")
    assert (await snapshot.take(connection, owner.id)).admission_queue.reserved == 4


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
async def test_the_equations_hold_in_every_state(connection, seed):
    """Σ bySurface = Σ byRegion = total = waiting + queued + processing, whatever is going on."""
    chance = random.Random(seed)
    owner = await factories.key(connection, concurrency=chance.randint(1, 9))
    surfaces = ("chatgpt", "claude")
    lanes = [
        await factories.lane(connection, country, surface=surface, concurrency=4)
        for surface in surfaces
        for country in ("US", "GB")
    ]
    for _ in range(8):
        match chance.randrange(6):
            case 0:
                await factories.some_parents(
                    connection,
                    owner,
                    chance.choices(lanes, k=chance.randint(1, 6)),
                    n=chance.randint(1, 3),
                    priority=chance.randint(1, 10),
                )
            case 1:
                await fan_out(connection, parents=chance.randint(1, 9))
            case 2:
                claimed = await factories.claim(
                    connection, slots=chance.randint(1, 9), surfaces=surfaces
                )
                kinds = (factories.completed, factories.failed, factories.retried)
                ended = [chance.choice(kinds)(c) for c in claimed if chance.random() < 0.7]
                await factories.settle(connection, *ended)
            case 3:
                await connection.execute("UPDATE child SET run_at = now() WHERE state = 'retrying'")
            case 4:
                await factories.reservation(connection, owner, chance.randint(1, 9))
            case 5:
                await connection.execute(chance.choice((DELAY, READY, EXPIRE)))
        await equations_hold(connection, owner)


async def equations_hold(connection, owner) -> None:
    """The snapshot agrees with itself and with a count of the rows."""
    seen = await snapshot.take(connection, owner.id)
    flight, queue = seen.inflight, seen.admission_queue
    assert flight.total == flight.waiting + flight.queued + flight.processing
    assert flight.total == sum(flight.by_surface.values()) == sum(flight.by_region.values())
    assert 0 not in flight.by_surface.values()
    assert 0 not in flight.by_region.values()
    assert seen.queued_tasks == flight.waiting + flight.queued
    assert seen.queued_tasks == sum(level.count for level in seen.priority_breakdown)
    levels = [level.priority for level in seen.priority_breakdown]
    assert levels == sorted(set(levels), reverse=True)
    assert seen.processing_tasks == seen.concurrency.used == flight.processing
    assert seen.headroom.asynchronous == max(0, queue.capacity - queue.depth)
    assert queue.depth == queue.waiting + queue.reserved
    assert (queue.oldest_age_seconds is None) == (queue.waiting == queue.delayed)
    for told, statement in (
        (flight.total, CELLS),
        (queue.waiting, WAITING),
        (queue.delayed, DELAYED),
        (queue.reserved, RESERVED),
    ):
        assert told == await factories.scalar(connection, statement, owner.id)
