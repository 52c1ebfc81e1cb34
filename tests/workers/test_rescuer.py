import pytest

from orchestrator.fanout import fan_out
from orchestrator.store import counters, nodes
from tests import factories
from tests.workers.database import pool_of
from workers.roles.rescuer import LOOK_SECONDS, Rescuer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def rescuer(connection, database):
    """Makes a rescuer of a living node; `told` says how often it found children."""
    node = await factories.node(connection)
    await connection.execute("UPDATE node SET good_since = now() - interval '1 min'")
    async with pool_of(database) as pool:

        def make(*, node: int = node) -> Rescuer:
            return Rescuer(pool, node=node, ready=lambda: told.append(True))

        told = make.told = []
        yield make


async def test_a_dead_api_process_gives_its_places_back_and_is_buried(connection, rescuer):
    """Its callers are gone, their parents go on without them, and its row goes with the next."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    dead = await factories.api_node(connection, age_seconds=nodes.DEAD_AFTER_SECONDS + 1)
    alive = await factories.api_node(connection)
    lost, kept = [
        await factories.sync_parent(connection, owner, [lane], node=node) for node in (dead, alive)
    ]
    assert await rescuer().step() == LOOK_SECONDS
    assert await factories.mode(connection, lost) == "detached"
    assert await factories.mode(connection, kept) == "sync"
    nodes_left = "SELECT array_agg(id) FROM node WHERE kind = 'api'"
    assert await factories.scalar(connection, nodes_left) == [alive]
    assert rescuer.told == []
    assert await counters.differences(connection) == []


async def test_nobody_is_judged_after_an_outage(connection, rescuer):
    """Every heartbeat is old then, and callers still wait."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    silent = await factories.api_node(connection, age_seconds=60)
    parent = await factories.sync_parent(connection, owner, [lane], node=silent)
    await factories.claim(connection, by=silent)
    await connection.execute("UPDATE node SET good_since = now()")
    assert await rescuer().step() == LOOK_SECONDS
    assert await factories.mode(connection, parent) == "sync"
    assert await factories.states(connection, parent) == ["processing"]


async def test_what_is_rescued_is_told_to_the_runner_and_looked_for_again(connection, rescuer):
    """More may be left behind a full batch."""
    owner = await factories.key(connection)
    await factories.parent(connection, owner, [await factories.lane(connection)])
    await fan_out(connection)
    await factories.claim(connection, by=4711)
    assert await rescuer().step() == 0.0
    assert rescuer.told == [True]
    assert await rescuer().step() == LOOK_SECONDS


async def test_lots_of_processes_that_are_long_gone_are_deleted(connection, rescuer):
    """They count no more; the table stays small."""
    owner = await factories.key(connection)
    await connection.execute(
        "INSERT INTO rate_lot (key_id, node, tokens, leased_at) VALUES (%s, 4711, 5, 1)",
        [owner.id],
    )
    await rescuer().step()
    assert await factories.scalar(connection, "SELECT count(*) FROM rate_lot") == 0
