"""Two sessions that meet at claim and stage."""

import pytest

from orchestrator.fanout import fan_out
from orchestrator.store import children, lanes
from tests import factories

pytestmark = pytest.mark.anyio


async def test_a_claim_that_began_before_a_child_ended_does_not_start_it(
    connection, connect, meeting, install_gate, recounted
):
    """A child that is no longer queued when its row is locked is left alone."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    parent = await factories.parent(connection, owner, [lane, lane])
    await fan_out(connection)
    gate, runner = await install_gate(), await connect()
    await gate.shut()
    claimed = await meeting.begin(runner, factories.claim(runner))
    assert not claimed.done()
    await connection.execute("UPDATE child SET state = 'canceled' WHERE ordinal = 1")
    await gate.open()
    assert [child.ordinal for child in await claimed] == [2]
    assert await factories.states(connection, parent) == ["canceled", "processing"]
    await recounted()


async def test_a_claim_passes_by_a_child_that_somebody_holds(connection, connect, meeting):
    """It does not wait for a row lock, so that nothing can wait for it in a circle."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    await factories.parent(connection, owner, [lane, lane])
    await fan_out(connection)
    holder = await connect()
    async with holder.transaction():
        await holder.execute("SELECT FROM child WHERE ordinal = 1 FOR NO KEY UPDATE")
        claimed = await meeting.begin(connection, factories.claim(connection))
        assert claimed.done()
    assert [child.ordinal for child in await claimed] == [2]


async def test_two_claims_never_pass_a_keys_limit_together(connection, connect, meeting):
    """The second waits for the first, then counts what it took, though in another lane."""
    owner = await factories.key(connection, concurrency=5)
    us = await factories.lane(connection)
    claude = await factories.lane(connection, surface="claude")
    await factories.some_parents(connection, owner, [us, claude], n=5)
    await fan_out(connection)
    one, other = await connect(), await connect()
    async with one.transaction():
        assert len(await factories.claim(one)) == 5
        second = await meeting.begin(other, factories.claim(other, surfaces=["claude"]))
    assert await second == []
    assert await factories.scalar(connection, "SELECT processing FROM usage") == 5


async def test_two_claims_never_pass_a_lanes_limit_together(
    connection, connect, meeting, recounted
):
    """Also when the second has seen children the first has not: it waits before it looks."""
    first, late = await factories.key(connection), await factories.key(connection)
    lane = await factories.lane(connection, concurrency=3)
    await factories.some_parents(connection, first, [lane], n=3)
    await fan_out(connection)
    blocker, one, other = await connect(), await connect(), await connect()
    async with blocker.transaction():
        await blocker.execute("SELECT FROM usage WHERE key_id = %s FOR UPDATE", [first.id])
        claimed = await meeting.begin(one, factories.claim(one))
        assert not claimed.done()  # it has picked its three and waits to count them
        await factories.some_parents(connection, late, [lane], n=3)
        assert await fan_out(connection) == 3
        second = await meeting.begin(other, factories.claim(other))
    assert len(await claimed) == 3
    assert await second == []
    assert await factories.scalar(connection, "SELECT processing FROM lane_load") == 3
    await recounted()


@pytest.mark.parametrize("order", ["pause", "limit"])
async def test_a_lane_is_paused_once_no_claim_is_under_way(connection, connect, meeting, order):
    """Whoever is told that a lane is paused or limited sees nothing more start in it."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    await factories.some_parents(connection, owner, [lane], n=3)
    await fan_out(connection)
    operator, runner = await connect(), await connect()
    place = lanes.Place(factories.SURFACE, "US")

    async def ordered() -> None:
        async with operator.transaction():
            if order == "pause":
                await lanes.pause(operator, place, paused=True)
            else:
                await lanes.limit(operator, place, 1)

    async with runner.transaction():
        assert len(await factories.claim(runner, slots=1)) == 1
        answered = await meeting.begin(operator, ordered())
        assert not answered.done()
    await answered
    assert await factories.claim(connection) == []


async def test_asking_what_a_claim_took_waits_for_a_claim_under_way(connection, connect, meeting):
    """A claim that outlived its node's connection is heard of, not missed by a moment."""
    owner = await factories.key(connection)
    await factories.parent(connection, owner, [await factories.lane(connection)])
    await fan_out(connection)
    lost, asking = await connect(), await connect()
    async with lost.transaction():
        took = await children.claim(lost, node=1, token=77, slots=1, surfaces=[factories.SURFACE])
        asked = await meeting.begin(asking, children.claimed(asking, node=1, token=77))
        assert not asked.done()
    assert [child[:4] for child in await asked] == [child[:4] for child in took]


async def test_a_claim_waits_for_another_before_it_looks(connection, connect, meeting):
    """Its snapshot is younger than the claim it waited for, so that it counts what that took."""
    lane = await factories.lane(connection, concurrency=3)
    owners = [await factories.key(connection) for _ in range(2)]
    for owner in owners:
        await factories.some_parents(connection, owner, [lane], n=3)
    await fan_out(connection)
    one, other = await connect(), await connect()
    async with one.transaction():
        assert len(await factories.claim(one, slots=2)) == 2
        second = await meeting.begin(other, factories.claim(other))
        assert not second.done()
    assert len(await second) == 1


async def between_attempts(connection, cells: int):
    """A parent whose children are all due for their next attempt."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    parent = await factories.parent(connection, owner, [lane] * cells)
    await fan_out(connection)
    claimed = await factories.claim(connection)
    await factories.settle(connection, *map(factories.retried, claimed))
    return parent


async def test_a_stage_passes_by_what_another_stages(connection, connect, meeting, recounted):
    """Two stagers never wait for each other, and each child is staged once."""
    await between_attempts(connection, 4)
    one, other = await connect(), await connect()
    async with one.transaction():
        assert (await children.stage(one, most=2)).children == 2
        second = await meeting.begin(other, children.stage(other, most=2))
        assert second.done()
    assert (await second).children == 0
    assert (await children.stage(other)).children == 2
    await recounted()


# Found before the server's own `now()`: a stage that has begun waits here, its snapshot taken.
SLOW_CLOCK = """
CREATE SCHEMA slow;
CREATE FUNCTION slow.now() RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM public.gate_open();
  RETURN pg_catalog.now();
END $$
"""


async def test_a_stage_that_began_before_a_child_was_claimed_leaves_it_alone(
    connection, connect, meeting, install_gate, recounted
):
    """Staged by another and running by now, it is not made ready a second time."""
    parent = await between_attempts(connection, 1)
    gate, stager = await install_gate(), await connect()
    await connection.execute(SLOW_CLOCK)
    await stager.execute("SET search_path = slow, pg_catalog, public")
    await gate.shut()
    staged = await meeting.begin(stager, children.stage(stager))
    assert not staged.done()
    assert (await children.stage(connection)).children == 1
    await connection.execute("UPDATE child SET state = 'processing', claim = 1, node = 1")
    await gate.open()
    assert (await staged).children == 0
    assert await factories.states(connection, parent) == ["processing"]
    await recounted()
