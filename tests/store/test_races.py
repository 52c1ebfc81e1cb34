"""Two sessions that meet at admission and fan-out.

One holds what the other needs; the other is seen to wait, or not to; then the first commits.
"""

import asyncio

import pytest

from admission import usage
from admission.deciding import Stored
from admission.demand import Demand
from admission.gate import Gate
from admission.pace import Pace
from admission.refusals import Refusal
from orchestrator.fanout import fan_out
from orchestrator.store import parents, strands
from tests import factories

pytestmark = pytest.mark.anyio


class Queue:
    """A record of parents without idempotency keys: nothing is recalled."""

    def again(self, stored, entry) -> None:
        raise AssertionError("nothing here has an idempotency key")

    async def store(self, connection, entries) -> None:
        await parents.insert(connection, entries)

    async def resumes(self, connection, keys) -> dict[int, float]:
        return await strands.resumes(connection, keys)


async def served(tasks, pool) -> Gate:
    """A gate as one API process has it."""
    gate = Gate(pool, Queue(), pace=Pace())
    tasks.create_task(gate.run())
    return gate


async def test_two_gates_at_the_last_place_admit_one(connection, connect, new_pool, meeting):
    """Whoever comes second waits for the first and is then refused."""
    owner = await factories.key(connection, queue_capacity=1)
    lane = await factories.lane(connection)
    pool, first = await new_pool(1), await connect()
    async with pool.connection() as only:
        pid = only.info.backend_pid
    async with asyncio.TaskGroup() as tasks:
        gate = await served(tasks, pool)
        async with first.transaction():
            seen = (await usage.lock(first, [owner.id]))[owner.id]
            assert (seen.depth, seen.capacity) == (0, 1)
            await parents.insert(first, [factories.new_parent(owner, [lane])])
            asking = factories.admit(gate, Demand(owner.id), factories.new_parent(owner, [lane]))
            asked = tasks.create_task(asking)
            await meeting.met(asked, pid)
        decision = await asked
        gate.close()
    assert isinstance(decision, Refusal)
    assert (decision.limit, decision.current) == (1, 1)
    assert await factories.scalar(connection, "SELECT depth FROM usage") == 1


async def test_many_gates_never_over_admit(connection, new_pool, recounted):
    """Three processes ask for far more than there is, for two keys: each queue is just full."""
    owners = [await factories.key(connection, queue_capacity=n) for n in (7, 13)]
    lane = await factories.lane(connection)
    async with asyncio.TaskGroup() as tasks:
        gates = [await served(tasks, await new_pool(2)) for _ in range(3)]
        decisions = []
        for _ in range(6):
            asked = []
            for gate in gates:
                for owner in owners:
                    entry = factories.new_parent(owner, [lane])
                    asked.append(factories.admit(gate, Demand(owner.id), entry))
            decisions += await asyncio.gather(*asked)
        for gate in gates:
            gate.close()
    admitted = sum(isinstance(decision, Stored) for decision in decisions)
    assert admitted == 7 + 13
    depths = "SELECT array_agg(depth ORDER BY key_id) FROM usage"
    assert await factories.scalar(connection, depths) == [7, 13]
    await recounted()


async def test_an_admission_that_meets_a_fan_out_gets_the_place_it_frees(
    connection, connect, meeting, recounted
):
    """It waits for the fan-out's usage lock and decides on what that left."""
    owner = await factories.key(connection, queue_capacity=1)
    lane = await factories.lane(connection)
    await factories.parent(connection, owner, [lane])
    dispatcher, api = await connect(), await connect()

    async def admit():
        async with api.transaction():
            seen = (await usage.lock(api, [owner.id]))[owner.id]
            if seen.depth < seen.capacity:
                await parents.insert(api, [factories.new_parent(owner, [lane])])
            return seen.depth

    async with dispatcher.transaction():
        assert await fan_out(dispatcher) == 1
        asked = await meeting.begin(api, admit())
        assert not asked.done()
    assert await asked == 0
    assert await factories.scalar(connection, "SELECT depth FROM usage") == 1
    await recounted()


async def test_a_fan_out_that_meets_an_admission_waits_and_loses_nothing(
    connection, connect, meeting, recounted
):
    """Neither deadlock nor a lost count: the old parent leaves, the new one waits."""
    owner = await factories.key(connection, queue_capacity=2)
    lane = await factories.lane(connection)
    await factories.parent(connection, owner, [lane])
    dispatcher, api = await connect(), await connect()
    async with api.transaction():
        await usage.lock(api, [owner.id])
        left = await meeting.begin(dispatcher, fan_out(dispatcher))
        assert not left.done()
        await parents.insert(api, [factories.new_parent(owner, [lane])])
    assert await left == 1
    assert await factories.scalar(connection, "SELECT depth FROM usage") == 1
    await recounted()


async def test_two_dispatchers_never_create_a_child_twice(connection, connect, meeting, recounted):
    """The second finds the first at it and leaves the parents to it."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    await factories.some_parents(connection, owner, [lane] * 3, n=4)
    one, other = await connect(), await connect()
    async with one.transaction():
        assert await fan_out(one, parents=2) == 6
        second = await meeting.begin(other, fan_out(other))
        assert second.done()
    assert await second == 0
    assert await fan_out(other) == 6
    assert await factories.scalar(connection, "SELECT count(*) FROM child") == 12
    await recounted()


async def test_two_dispatchers_never_pass_a_window_together(connection, connect, meeting):
    """What the first has taken of a key's and a lane's window counts for the second."""
    owner = await factories.key(connection, concurrency=2)
    lane = await factories.lane(connection, concurrency=2)
    await factories.some_parents(connection, owner, [lane], n=20)
    one, other = await connect(), await connect()
    async with one.transaction():
        assert await fan_out(one, parents=3) == 3
        second = await meeting.begin(other, fan_out(other))
    await second
    assert await factories.scalar(connection, "SELECT count(*) FROM child") <= 4


async def test_dispatchers_and_claims_at_once_keep_every_promise(connection, connect, recounted):
    """Four dispatchers and two runners at full speed: each child once, nothing lost."""
    owners = [await factories.key(connection, concurrency=5) for _ in range(4)]
    lanes = [await factories.lane(connection, country, concurrency=6) for country in ("US", "GB")]
    for owner in owners:
        await factories.some_parents(connection, owner, lanes, n=10)
    sessions = [await connect() for _ in range(6)]

    async def live() -> bool:
        waiting = "SELECT count(*) FROM parent WHERE state IN ('queued', 'processing')"
        return bool(await factories.scalar(connection, waiting))

    async def dispatch(session) -> None:
        while await factories.scalar(session, "SELECT count(*) FROM parent WHERE state = 'queued'"):
            await fan_out(session, parents=3)

    async def run(session) -> None:
        node = await factories.node(session)
        while claimed := await factories.claim(session, by=node, slots=5) or await live():
            if claimed is not True:
                await factories.complete(session, claimed)

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for session in sessions[:4]:
            tasks.create_task(dispatch(session))
        for session in sessions[4:]:
            tasks.create_task(run(session))
    ended = "SELECT array_agg(DISTINCT (state, done)::text) FROM parent"
    assert await factories.scalar(connection, ended) == ["(completed,2)"]
    assert await factories.scalar(connection, "SELECT count(*) FROM child") == 80
    await recounted()


async def test_a_fan_out_that_meets_a_parent_being_canceled_passes_it_by(
    connection, connect, meeting
):
    """It does not wait for the parent's lock."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    gone = await factories.parent(connection, owner, [lane])
    canceler = await connect()
    async with canceler.transaction():
        await canceler.execute("SELECT FROM parent WHERE id = %s FOR NO KEY UPDATE", [gone])
        left = await meeting.begin(connection, fan_out(connection))
        assert left.done()
    assert await left == 0
    assert await fan_out(connection) == 1


async def test_a_fan_out_that_began_before_a_parent_was_canceled_does_not_revive_it(
    connection, connect, meeting, install_gate, recounted
):
    """Its snapshot shows the parent queued; the row, when it is locked, says otherwise."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    gone, stays = await factories.some_parents(connection, owner, [lane], n=2)
    gate, dispatcher = await install_gate(), await connect()
    await gate.shut()
    left = await meeting.begin(dispatcher, fan_out(dispatcher))
    assert not left.done()
    await connection.execute(
        "UPDATE parent SET state = 'canceled', done = total, canceled = total WHERE id = %s",
        [gone],
    )
    await gate.open()
    assert await left == 1
    row = await parents.read(connection, key_id=owner.id, parent=gone)
    assert row is not None
    assert str(row.state) == "canceled"
    assert await factories.states(connection, gone) == []
    assert await factories.states(connection, stays) == ["queued"]
    await recounted()
