import asyncio
import secrets
from contextlib import asynccontextmanager

import pytest

from admission import keys, usage
from admission.deciding import Known, Stored
from admission.demand import Demand
from admission.gate import Gate
from admission.limits import Limits
from admission.pace import Pace
from admission.refusals import Refusal, RefusalCode, Taken, Watch
from orchestrator import submission
from orchestrator.fanout import fan_out
from orchestrator.store import parents, strands
from orchestrator.submission import Accepted, Submitter
from orchestrator.surfaces import SurfaceDescriptor
from tests import factories

pytestmark = pytest.mark.anyio

CHATGPT = SurfaceDescriptor(
    name="chatgpt",
    adapter="simulator",
    method="simulator",
    options_schema={},
    concurrency=7,
    regions={"GB": 3},
)


class Shelf:
    """A record of parents, or of anything where `store` says so."""

    def __init__(self, store=parents.insert):
        self.store = store

    async def recall(self, connection, entries):
        names = [(entry.key_id, entry.idempotency_key) for entry in entries]
        return [
            Known(found, open=not found.state.ended) if found else None
            for found in await parents.earlier(connection, names)
        ]

    def again(self, stored, entry):
        raise AssertionError("nothing here has an idempotency key")

    async def resumes(self, connection, keys):
        return await strands.resumes(connection, keys)

    async def join(self, connection, waiting):
        await parents.attend(connection, [(entry, found.id) for entry, found in waiting])


@asynccontextmanager
async def opened(pool, store=parents.insert):
    """A gate that is served, as in one API process."""
    gate = Gate(pool, Shelf(store), pace=Pace())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(gate.run())
        yield gate
        gate.close()


async def depth(connection, owner) -> int:
    statement = "SELECT count(*) FROM parent WHERE state = 'queued' AND key_id = %s"
    return await factories.scalar(connection, statement, owner.id)


async def test_exactly_the_capacity_is_admitted(connection, new_pool, recounted):
    """Of many asked at once as many are stored as there are places; refusals say what they met."""
    owner = await factories.key(connection, queue_capacity=5)
    lane = await factories.lane(connection)
    async with opened(await new_pool()) as gate:
        decisions = await asyncio.gather(
            *(
                factories.admit(gate, Demand(owner.id), factories.new_parent(owner, [lane, lane]))
                for _ in range(12)
            )
        )
    assert decisions[:5] == [Stored()] * 5
    code, taken = RefusalCode.QUEUE_CAPACITY_EXCEEDED, Taken(8, 0, 5)
    for refusal, seconds in zip(decisions[5:], (15, 30, 45), strict=False):
        assert refusal == Refusal(code, Watch.ADMISSION_QUEUE, 5, 5, 1, seconds, taken)
    assert len(decisions) == 12
    assert {type(refusal) for refusal in decisions[5:]} == {Refusal}
    assert await depth(connection, owner) == 5
    await recounted()


FLUSHES = """
CREATE TABLE flush (mode text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO flush VALUES (current_setting('synchronous_commit'));
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER noted AFTER UPDATE ON usage
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note()
"""


async def test_what_is_admitted_is_flushed_also_beside_refusals(connection, new_pool):
    """As each transaction ends: one with a yes waits for the disk, refusals alone do not."""
    owner = await factories.key(connection, queue_capacity=1)
    lane = await factories.lane(connection)
    await connection.execute(FLUSHES)
    async with opened(await new_pool()) as gate:

        async def ask(times):
            entries = [factories.new_parent(owner, [lane]) for _ in range(times)]
            await asyncio.gather(
                *(factories.admit(gate, Demand(owner.id), entry) for entry in entries)
            )
            modes = await factories.scalar(connection, "SELECT array_agg(DISTINCT mode) FROM flush")
            await connection.execute("DELETE FROM flush")
            return modes

        assert await ask(3) == ["on"]
        assert await ask(2) == ["off"]


async def test_keys_do_not_take_each_others_places(connection, new_pool):
    """A flush over several keys decides for each by its own row."""
    small = await factories.key(connection, queue_capacity=1)
    large = await factories.key(connection, queue_capacity=10)
    lane = await factories.lane(connection)
    async with opened(await new_pool()) as gate:
        asked = [small, large] * 4
        decisions = await asyncio.gather(
            *(
                factories.admit(gate, Demand(one.id), factories.new_parent(one, [lane]))
                for one in asked
            )
        )
    assert [isinstance(decision, Stored) for decision in decisions] == [True] * 2 + [
        False,
        True,
    ] * 3
    assert (await depth(connection, small), await depth(connection, large)) == (1, 4)


async def test_a_place_left_is_free_at_once(connection, new_pool):
    """What fans out gives its place back to the next submission."""
    owner = await factories.key(connection, queue_capacity=1)
    lane = await factories.lane(connection)
    async with opened(await new_pool()) as gate:

        async def ask():
            return await factories.admit(
                gate, Demand(owner.id), factories.new_parent(owner, [lane])
            )

        assert await ask() == Stored()
        assert isinstance(await ask(), Refusal)
        await fan_out(connection)
        assert await ask() == Stored()


async def test_a_demand_of_several_places_is_all_or_nothing(connection, new_pool):
    """Two places asked when one is free take none, and the one is still there."""
    owner = await factories.key(connection, queue_capacity=1)
    stored = []

    async def record(_, entries):
        stored.extend(entries)

    async with opened(await new_pool(), record) as gate:
        refused = await factories.admit(gate, Demand(owner.id, 2), "both")
        admitted = await factories.admit(gate, Demand(owner.id, 1), "one")
    assert isinstance(refused, Refusal)
    assert (refused.current, refused.requested) == (0, 2)
    assert isinstance(admitted, Stored)
    assert stored == ["one"]


async def test_a_capacity_lowered_below_the_depth_admits_nothing_and_loses_nothing(
    connection, new_pool
):
    """Waiting parents stay, new ones are refused until there is room under the new limit."""
    owner = await factories.key(connection, queue_capacity=3)
    lane = await factories.lane(connection)
    await factories.some_parents(connection, owner, [lane], n=3)
    await keys.set_limits(connection, owner, Limits(queue_capacity=2))
    async with opened(await new_pool()) as gate:
        refused = await factories.admit(gate, Demand(owner.id), factories.new_parent(owner, [lane]))
    assert isinstance(refused, Refusal)
    assert (refused.limit, refused.current) == (2, 3)
    assert await depth(connection, owner) == 3


async def test_a_failed_flush_stores_nothing_and_tells_every_caller(connection, new_pool):
    """When recording fails each caller of that flush gets the error, and the next flush works."""
    owner = await factories.key(connection, queue_capacity=3)
    lane = await factories.lane(connection)
    broken = [True]

    async def record(session, entries):
        await parents.insert(session, entries)
        if broken.pop() if broken else False:
            raise ConnectionError("the database went away")

    async with opened(await new_pool(), record) as gate:
        asked = [
            factories.admit(gate, Demand(owner.id), factories.new_parent(owner, [lane]))
            for _ in "ab"
        ]
        failures = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(failure) for failure in failures] == [ConnectionError] * 2
        assert await depth(connection, owner) == 0
        again = await factories.admit(gate, Demand(owner.id), factories.new_parent(owner, [lane]))
        assert again == Stored()


async def test_a_caller_who_leaves_does_not_hold_up_others(connection, new_pool):
    """A cancelled wait leaves the other decisions of its flush as they are."""
    owner = await factories.key(connection, queue_capacity=3)
    lane = await factories.lane(connection)
    async with opened(await new_pool()) as gate:
        gone, stays = (
            asyncio.ensure_future(
                factories.admit(gate, Demand(owner.id), factories.new_parent(owner, [lane]))
            )
            for _ in "ab"
        )
        await asyncio.sleep(0)
        gone.cancel()
        assert isinstance(await stays, Stored)


async def test_the_drain_rate_of_the_refusal_follows_what_left(connection, new_pool):
    """A queue that moves promises room soon, one that stands still says to look later."""
    owner = await factories.key(connection, queue_capacity=100, concurrency=100)
    lane = await factories.lane(connection, concurrency=1000)
    async with connection.transaction():
        before = (await usage.lock(connection, [owner.id]))[owner.id]
    assert before.drain_per_second == 0
    await factories.some_parents(connection, owner, [lane], n=60)
    await fan_out(connection, parents=60)
    async with connection.transaction():
        moved = (await usage.lock(connection, [owner.id]))[owner.id]
    assert 15 < moved.drain_per_second < 22  # 60 at once, over the 3 s it takes to believe it
    await connection.execute("UPDATE usage SET drained_at = drained_at - 300")
    async with connection.transaction():
        later = (await usage.lock(connection, [owner.id]))[owner.id]
    assert later.drain_per_second < 0.001


async def test_a_queue_that_stood_still_for_hours_is_still_admitted_to(connection, new_pool):
    """A drain decayed to next to nothing stops neither admission nor fan-out by an underflow."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    await factories.parent(connection, owner, [lane])
    await connection.execute("UPDATE usage SET drained = 1e-320, drained_at = 1")
    async with opened(await new_pool()) as gate:
        decision = await factories.admit(
            gate, Demand(owner.id), factories.new_parent(owner, [lane])
        )
    assert decision == Stored()
    assert await fan_out(connection) == 2


async def test_a_submission_makes_its_lanes_and_its_parent(connection, new_pool):
    """The lanes a plan needs are made with the surface's limits; the parent has one a cell."""
    owner = await factories.key(connection, queue_capacity=2)
    plan = factories.plan(2)
    here = {"chatgpt": CHATGPT}
    submitter = Submitter(await new_pool())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(submitter.run())
        first = await submitter.submit(owner, submission.new(plan), here)
        second = await submitter.submit(owner, submission.new(plan), here)
        third = await submitter.submit(owner, submission.new(plan), here)
        submitter.close()
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert isinstance(third, Refusal)
    stored = await parents.read(connection, key_id=owner.id, parent=first.parent)
    assert stored is not None
    assert (stored.plan, stored.total, str(stored.state)) == (plan, 2, "queued")
    made = "SELECT array_agg(ROW(surface, country, concurrency)::text) FROM lane"
    assert await factories.scalar(connection, made) == ["(chatgpt,US,7)"]


async def test_a_parent_is_read_by_its_owner_only(connection):
    """Somebody else's parent and an unknown one look alike."""
    owner, other = await factories.key(connection), await factories.key(connection)
    made = await factories.parent(connection, owner, [await factories.lane(connection)])
    assert await parents.read(connection, key_id=owner.id, parent=made)
    assert await parents.read(connection, key_id=other.id, parent=made) is None


async def test_any_text_survives_the_store(connection):
    """Quotes, braces, commas and emoji come back as they went in, for many parents at once."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    texts = ['{"a,b}\\', "naïve 🍵 'tea'", "NULL", " \t\n", secrets.token_hex(5_000)]
    made = [
        factories.new_parent(owner, [lane])._replace(
            plan=factories.plan(query=text, metadata={"k": text})
        )
        for text in texts
    ]
    async with connection.transaction():
        await parents.insert(connection, made)
    found = await parents.plans_of(connection, [one.id for one in made])
    assert [found[one.id].query for one in made] == texts
    assert [found[one.id].metadata["k"] for one in made] == texts
