"""Many submissions of one caller at the gate, and places taken in a transaction of the caller's."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from psycopg.errors import CheckViolation, RaiseException

from admission import gate, reservations
from admission.deciding import Overpriced, Stored
from admission.demand import Demand
from admission.refusals import Refusal
from orchestrator import submission
from orchestrator.domain import ids
from orchestrator.domain.states import ParentState
from orchestrator.store import parents, strands
from orchestrator.submission import Accepted, Conflict, Replayed, Submitter, Withheld
from orchestrator.surfaces import SurfaceDescriptor
from tests import factories

pytestmark = pytest.mark.anyio


def priced(cost=0):
    """The surfaces there are, at this price a cell."""
    surface = SurfaceDescriptor(
        name="chatgpt", adapter="simulator", method="simulator", options_schema={}, credits=cost
    )
    return {"chatgpt": surface}


HERE = priced()


@asynccontextmanager
async def served(*pools):
    """Submitters, one a pool, as in as many API processes."""
    submitters = [Submitter(pool) for pool in pools]
    async with asyncio.TaskGroup() as tasks:
        for submitter in submitters:
            tasks.create_task(submitter.run())
        yield submitters
        for submitter in submitters:
            submitter.close()


def asked(n, **fields):
    return [submission.new(factories.plan(query=f"tea {number}", **fields)) for number in range(n)]


def named(name, **fields):
    return submission.new(factories.plan(**fields), idempotency_key=name)


async def counted(connection):
    return await factories.scalar(connection, "SELECT count(*) FROM parent")


async def test_a_batch_is_one_transaction(connection, new_pool, recounted):
    """Its parents are stored at one moment, in order, one lock and one insert for all."""
    owner = await factories.key(connection)
    async with served(await new_pool()) as (door,):
        taken = await door.submit_all(owner, asked(30), HERE)
    assert {type(one) for one in taken.each} == {Accepted}
    moments = "SELECT count(DISTINCT (created_at, xmin::text)) FROM parent"
    assert await factories.scalar(connection, moments) == 1
    order = "SELECT array_agg(id ORDER BY id) FROM parent"
    assert await factories.scalar(connection, order) == [one.parent for one in taken.each]
    await recounted()


@pytest.mark.parametrize("whole", [True, False])
async def test_when_one_cannot_be_recorded_none_is(connection, new_pool, whole):
    """A database that fails in the midst of a batch has stored none of it; sent again, all."""
    owner = await factories.key(connection)
    async with served(await new_pool()) as (door,):
        await door.submit(owner, submission.new(factories.plan()), HERE)  # its lane is there
        await connection.execute("""
            CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'stop'; END $$;
            CREATE TRIGGER stop BEFORE INSERT ON parent FOR EACH ROW
            WHEN (new.priority = 9) EXECUTE FUNCTION stop()
        """)
        batch = [*asked(3), *asked(1, priority=9), *asked(3)]
        with pytest.raises(RaiseException):
            await door.submit_all(owner, batch, HERE, whole=whole)
        assert await counted(connection) == 1
        await connection.execute("DROP TRIGGER stop ON parent")
        taken = await door.submit_all(owner, batch, HERE, whole=whole)
    assert len(taken.each) == 7
    assert await counted(connection) == 8


async def test_batches_over_two_doors_never_pass_the_capacity(connection, new_pool, recounted):
    """Each by itself exactly fills the queue; whole ones are stored whole, and never beyond."""
    owner = await factories.key(connection, queue_capacity=40)
    async with served(await new_pool(), await new_pool()) as doors:
        taken = await asyncio.gather(
            *(
                doors[n % 2].submit_all(owner, asked(9, priority=1 + n % 2), HERE, whole=n % 4 < 2)
                for n in range(12)
            )
        )
    stored = [sum(isinstance(one, Accepted) for one in batch.each) for batch in taken]
    assert sum(stored) == 40 == await counted(connection)
    assert {n for n, batch in zip(stored, taken, strict=True) if batch.none} <= {0}
    await recounted()


async def test_a_refused_whole_batch_says_what_it_needs_and_stores_nothing(connection, new_pool):
    """Those that are there already need no place."""
    owner = await factories.key(connection, queue_capacity=3)
    async with served(await new_pool()) as (door,):
        await door.submit(owner, named("k"), HERE)
        batch = [named("k"), *asked(3)]
        refused = await door.submit_all(owner, batch, HERE, whole=True)
        assert isinstance(refused.none, Refusal)
        assert (refused.none.requested, refused.none.current, refused.each) == (3, 1, [])
        taken = await door.submit_all(owner, batch[:3], HERE, whole=True)
    assert [type(one) for one in taken.each] == [Replayed, Accepted, Accepted]
    assert await counted(connection) == 3


async def test_twins_in_one_transaction_are_one_parent(connection, new_pool, recounted):
    """The second is a replay of the first as it is then; another request is a conflict."""
    owner = await factories.key(connection)
    batch = [named("k"), named("k"), named("k", priority=9), named("l", delay=5.0)]
    async with served(await new_pool()) as (door,):
        (first, again, other, late) = (await door.submit_all(owner, batch, HERE)).each
        (later,) = (await door.submit_all(owner, [named("l", delay=5.0)], HERE)).each
    assert isinstance(first, Accepted)
    assert again == Replayed(first.parent, ParentState.QUEUED, waits=False)
    assert other == Conflict(first.parent)
    assert isinstance(late, Accepted)
    assert later == Replayed(late.parent, ParentState.DELAYED, waits=False)
    assert await counted(connection) == 2
    await recounted()


async def test_credits_come_after_a_replay_and_before_the_room(connection, new_pool):
    """What was admitted at its price is answered at any; what is too dear now is said so."""
    owner = await factories.key(connection, queue_capacity=1)
    cheap, dear = priced(2), priced(3)
    async with served(await new_pool()) as (door,):
        first = await door.submit(owner, named("k", max_credits=2), cheap)
        assert isinstance(first, Accepted)
        again = await door.submit(owner, named("k", max_credits=2), dear)
        assert again == Replayed(first.parent, ParentState.QUEUED, waits=False)
        assert await door.submit(owner, named("l", max_credits=2), dear) == Overpriced(3, 2)
        batch = [named("k", max_credits=2), named("l", max_credits=2)]
        none = await door.submit_all(owner, batch, dear, whole=True)
        assert none.none == Withheld(1, Overpriced(3, 2))
    stored = await parents.read(connection, key_id=owner.id, parent=first.parent)
    assert stored is not None
    assert (stored.plan.costs, stored.estimated) == ({"chatgpt": 2}, 2)


async def test_a_group_is_made_once_and_its_keys_own(connection, new_pool):
    """One row a name and key, however many name it at once over two processes."""
    owner, other = await factories.key(connection), await factories.key(connection)
    async with served(await new_pool(), await new_pool()) as doors:
        await asyncio.gather(
            *(
                doors[n % 2].submit_all(key, asked(3, group=f"g{n % 3}"), HERE)
                for n in range(6)
                for key in (owner, other)
            )
        )
    groups = "SELECT count(*), count(DISTINCT (key_id, name)) FROM parent_group"
    assert await (await connection.execute(groups)).fetchone() == (6, 6)
    stray = "SELECT count(*) FROM parent p JOIN parent_group g ON g.id = p.group_id"
    assert await factories.scalar(connection, stray) == 36
    stray += " WHERE g.key_id <> p.key_id OR g.name <> p.payload->>'group'"
    assert await factories.scalar(connection, stray) == 0


async def test_what_is_not_stored_makes_no_group(connection, new_pool):
    """Neither a refusal nor a transaction that fails leaves a name; the next makes it."""
    owner = await factories.key(connection, queue_capacity=2)
    groups = "SELECT array_agg(name) FROM parent_group"
    async with served(await new_pool()) as (door,):
        await door.submit_all(owner, asked(3, group="g"), HERE, whole=True)
        assert await factories.scalar(connection, groups) is None
        await connection.execute("ALTER TABLE parent ADD CONSTRAINT stop CHECK (priority < 9)")
        with pytest.raises(CheckViolation):
            await door.submit_all(owner, asked(1, group="g", priority=9), HERE)
        assert await factories.scalar(connection, groups) is None
        for _ in range(3):
            await door.submit_all(owner, asked(1, group="g"), HERE)
    assert await factories.scalar(connection, groups) == ["g"]
    grouped = "SELECT array_agg(g.name) FROM parent p JOIN parent_group g ON g.id = p.group_id"
    assert await factories.scalar(connection, grouped) == ["g", "g"]


async def test_a_batch_draws_its_reservation_over_two_doors_once(connection, new_pool, recounted):
    """Of what is reserved and what is free each place is taken once."""
    owner = await factories.key(connection, queue_capacity=10)
    held = ids.new()
    await reservations.make(connection, held, key_id=owner.id, places=6, seconds=60)
    async with served(await new_pool(), await new_pool()) as doors:
        taken = await asyncio.gather(
            *(doors[n % 2].submit_all(owner, asked(3), HERE, reservation=held) for n in range(6))
        )
    assert await counted(connection) == 10
    assert sum(isinstance(one, Accepted) for batch in taken for one in batch.each) == 10
    left = "SELECT places FROM reservation"
    assert await factories.scalar(connection, left) == 0
    assert {batch.reserved for batch in taken} <= {3, 0, None}
    await recounted()


async def test_places_are_entered_in_the_callers_transaction(connection, recounted):
    """Admitted: what the caller stores holds them. Rolled back, nothing was taken."""
    owner = await factories.key(connection, queue_capacity=1)
    lane = await factories.lane(connection)

    async def enter():
        admitted = await gate.enter(connection, Demand(owner.id), strands.resumes)
        if admitted == Stored():
            await parents.insert(connection, [factories.new_parent(owner, [lane])])
        return admitted

    async with connection.transaction(force_rollback=True):
        assert await enter() == Stored()
    async with connection.transaction():
        assert await enter() == Stored()
    for seconds in (15, 30):
        async with connection.transaction():
            refused = await enter()
        assert isinstance(refused, Refusal)
        assert (refused.current, refused.retry_after_seconds) == (1, seconds)
    assert await counted(connection) == 1
    await recounted()


async def test_whoever_enters_waits_for_who_holds_the_usage(connection, connect, meeting):
    """Two transactions at the last place: the second decides on what the first left."""
    owner = await factories.key(connection, queue_capacity=1)
    lane = await factories.lane(connection)
    first, second = await connect(), await connect()

    async def enter():
        async with second.transaction():
            return await gate.enter(second, Demand(owner.id), strands.resumes)

    async with first.transaction():
        assert await gate.enter(first, Demand(owner.id), strands.resumes) == Stored()
        await parents.insert(first, [factories.new_parent(owner, [lane])])
        entering = await meeting.begin(second, enter())
        assert not entering.done()
    assert isinstance(await entering, Refusal)
