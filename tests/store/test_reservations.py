import asyncio
from contextlib import asynccontextmanager

import pytest

from admission import reservations, usage
from admission.demand import Demand
from admission.gate import Gate
from admission.pace import Pace
from admission.policy import Admitted, decide, headroom
from admission.refusals import Refusal
from orchestrator import preflight, snapshot
from orchestrator.domain import ids
from orchestrator.domain.preflight import Jobs
from orchestrator.fanout import fan_out
from orchestrator.preflight import Asker, Crowded
from orchestrator.store import parents, strands
from tests import factories

pytestmark = pytest.mark.anyio

EXPIRE = "UPDATE reservation SET expires_at = now() - interval '1 millisecond' WHERE id = %s"


async def taken(connection, owner):
    """What a lock of the key returns."""
    async with connection.transaction():
        return (await usage.lock(connection, [owner.id]))[owner.id]


async def asked(connection, owner, *, n=1, seconds=60.0, sync=False):
    """A preflight of `n` jobs that would have their places held."""
    asker, jobs = Asker(owner, Pace(), 0), Jobs(n=n, cells=1, sync=sync)
    async with connection.transaction():
        return await preflight.reserve(connection, asker, jobs, seconds=seconds)


class Shelf:
    """A record of parents without idempotency keys: none is known, and none comes again."""

    store = staticmethod(parents.insert)
    resumes = staticmethod(strands.resumes)
    recall = again = join = None


@asynccontextmanager
async def door(pool):
    """A gate that is served, as in one API process."""
    gate = Gate(pool, Shelf(), pace=Pace())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(gate.run())
        yield gate
        gate.close()


async def test_a_live_reservation_counts_and_an_expired_one_does_not(connection):
    """The lock, a read without it and the snapshot say the same, before and after its time."""
    owner = await factories.key(connection, queue_capacity=10)
    lane = await factories.lane(connection)
    await factories.parent(connection, owner, [lane])
    kept, expired = [await factories.reservation(connection, owner, places) for places in (2, 4)]
    for held in ({kept: 2, expired: 4}, {kept: 2}):
        locked, read = await taken(connection, owner), await usage.read(connection, owner.id)
        assert read
        assert locked.reservations == read.reservations == held
        assert locked.depth == read.depth == read.taken.depth == 1 + sum(held.values())
        queue = (await snapshot.take(connection, owner.id)).admission_queue
        assert (queue.depth, queue.waiting, queue.reserved) == (locked.depth, 1, locked.reserved)
        await connection.execute(EXPIRE, [expired])


async def test_a_reservation_is_its_keys(connection):
    """It counts for no other key, and no other gives it back."""
    owner, other = await factories.key(connection), await factories.key(connection)
    made = await factories.reservation(connection, owner, 3)
    assert (await taken(connection, other)).reserved == 0
    assert not await reservations.cancel(connection, other.id, made)
    assert (await taken(connection, owner)).reserved == 3
    assert await reservations.cancel(connection, owner.id, made)
    assert not await reservations.cancel(connection, owner.id, made)
    assert (await taken(connection, owner)).reserved == 0


async def test_one_that_expired_while_the_lock_was_waited_for_is_gone(connect, connection, meeting):
    """Who waited decides by the clock under the lock, not by that of the start of their wait."""
    owner = await factories.key(connection, queue_capacity=5)
    made = await factories.reservation(connection, owner, 5)
    first, second = await connect(), await connect()
    async with first.transaction():
        await usage.lock(first, [owner.id])
        waits = await meeting.begin(second, taken(second, owner))
        await first.execute("UPDATE reservation SET expires_at = clock_timestamp()")
    assert headroom(await waits) == 5
    assert made


async def test_one_that_was_made_while_the_lock_was_waited_for_counts(connect, connection, meeting):
    """Its places are not given away a second time."""
    owner = await factories.key(connection, queue_capacity=5)
    first, second = await connect(), await connect()
    async with first.transaction():
        await usage.lock(first, [owner.id])
        waits = await meeting.begin(second, taken(second, owner))
        await reservations.make(first, ids.new(), key_id=owner.id, places=4, seconds=9)
    assert headroom(await waits) == 1


async def test_two_doors_draw_on_one_reservation_at_once(connection, new_pool, recounted):
    """Its places are drawn once, the rest is taken from the queue, and the depth stays in bounds.

    Strangers to it at the same doors get what is free beside it, and no place of it.
    """
    owner = await factories.key(connection, queue_capacity=10)
    lane = await factories.lane(connection)
    made = await factories.reservation(connection, owner, 6)
    async with door(await new_pool()) as one, door(await new_pool()) as other:
        demands = [Demand(owner.id, reservation=made), Demand(owner.id)] * 10
        decisions = await asyncio.gather(
            *(
                factories.admit(gate, demand, factories.new_parent(owner, [lane]))
                for demand in demands
                for gate in (one, other)
            )
        )
    stored = [not isinstance(decision, Refusal) for decision in decisions]
    drawers = [n // 2 % 2 == 0 for n in range(len(decisions))]
    assert sum(stored) == 10
    assert sum(yes and drew for yes, drew in zip(stored, drawers, strict=True)) >= 6
    assert (await taken(connection, owner)).waiting == 10
    assert (await taken(connection, owner)).reserved == 0
    await recounted()


async def test_one_given_back_while_it_is_drawn_on_lends_no_place_twice(
    connect, connection, meeting
):
    """Its places are free once both are done, and the depth is what waits."""
    owner = await factories.key(connection, queue_capacity=5)
    lane = await factories.lane(connection)
    made = await factories.reservation(connection, owner, 5)
    drawing, giving, third = await connect(), await connect(), await connect()
    async with drawing.transaction():
        found = (await usage.lock(drawing, [owner.id]))[owner.id]
        decision = decide(Demand(owner.id, reservation=made), found)
        assert isinstance(decision, Admitted)
        assert await reservations.cancel(giving, owner.id, made)
        waits = await meeting.begin(third, taken(third, owner))
        await parents.insert(drawing, [factories.new_parent(owner, [lane])])
        await reservations.draw(drawing, {made: decision.usage.reservations[made]})
    after = await waits
    assert (after.depth, after.waiting, after.reserved) == (1, 1, 0)


async def test_a_preflight_holds_what_admission_would_admit(connection, recounted):
    """Reserved to the last place; then nothing more, neither reserved nor admitted."""
    owner = await factories.key(connection, queue_capacity=5)
    held = await asked(connection, owner, n=5)
    assert (held.admitted, held.reservation.places) == (True, 5)
    assert (held.headroom.asynchronous, held.retry_after_seconds) == (0, None)
    again = await asked(connection, owner)
    assert (again.admitted, again.reservation) == (False, None)
    assert again.binding == "admissionQueue"
    decision = decide(Demand(owner.id), await taken(connection, owner))
    assert not isinstance(decision, Admitted)
    await recounted()


async def test_a_key_has_twenty_live_reservations_at_most(connection):
    """Spent and expired ones are not live; the 21st live one is not made."""
    owner = await factories.key(connection, queue_capacity=100)
    made = [await factories.reservation(connection, owner, 1) for _ in range(22)]
    await connection.execute(EXPIRE, [made[0]])
    await reservations.draw(connection, {made[1]: 0})
    assert await asked(connection, owner) == Crowded(20)
    await reservations.cancel(connection, owner.id, made[2])
    assert (await asked(connection, owner)).reservation
    assert (await taken(connection, owner)).reserved == 20


async def test_a_place_reserved_keeps_nothing_from_leaving_the_queue(connection):
    """Reservations hold places of the queue; what waits fans out as ever."""
    owner = await factories.key(connection, queue_capacity=3)
    await factories.parent(connection, owner, [await factories.lane(connection)])
    await factories.reservation(connection, owner, 2)
    assert await fan_out(connection) == 1
    assert (await taken(connection, owner)).depth == 2


async def test_the_expired_are_forgotten_in_bounded_batches(connection):
    """Those that live stay; what goes at once is bounded."""
    owner = await factories.key(connection)
    made = [await factories.reservation(connection, owner, 1) for _ in range(5)]
    for one in made[:3]:
        await connection.execute(EXPIRE, [one])
    assert await reservations.forget_expired(connection, most=2) == 2
    assert await reservations.forget_expired(connection) == 1
    assert await reservations.forget_expired(connection) == 0
    assert set((await taken(connection, owner)).reservations) == set(made[3:])


async def test_work_is_timed_anew_after_a_pause(connection):
    """A key that had nothing to do for a while is judged by what it does now."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)

    async def run(n):
        await factories.some_parents(connection, owner, [lane], n=n)
        await fan_out(connection)
        began = (await preflight.going(connection, owner.id)).ended_from
        await factories.complete(connection, await factories.claim(connection))
        return began, await preflight.going(connection, owner.id)

    first, going = await run(3)
    assert (going.cells, going.ended, going.ended_from) == (0, 3, first)
    at_once, going = await run(2)
    assert at_once == first
    assert 4.9 < going.ended <= 5
    await connection.execute(
        "UPDATE usage SET ended_at = ended_at - 4, ended_from = ended_from - 9"
    )
    later, going = await run(1)
    assert later > first
    assert (going.ended, going.ended_from) == (1, later)


async def test_how_work_goes_is_counted_by_where_it_is(connection):
    """Parents that may leave, cells not ended, those in flight, and sync ones apart."""
    owner = await factories.key(connection, concurrency=3)
    lane = await factories.lane(connection)
    await factories.parent(connection, owner, [lane, lane])
    await fan_out(connection)
    await factories.some_parents(connection, owner, [lane], n=4)
    await factories.sync_parent(connection, owner, [lane] * 5)
    await connection.execute(
        "UPDATE parent SET state = 'delayed', not_before = now() WHERE id ="
        " (SELECT id FROM parent WHERE state = 'queued' LIMIT 1)"
    )
    going = await preflight.going(connection, owner.id)
    assert (going.ready, going.cells, going.sync_cells) == (3, 2 + 4 + 5, 5)
    assert (going.in_flight, going.window) == (2, 6)
