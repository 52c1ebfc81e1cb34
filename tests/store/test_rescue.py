import pytest

from orchestrator.fanout import fan_out
from orchestrator.store import children, nodes, parents
from orchestrator.store.children import SUSPECT_AFTER, Rescued
from orchestrator.store.children.rescue import LOST_LIMIT
from tests import factories

pytestmark = pytest.mark.anyio


async def rescue(connection, **limits) -> Rescued:
    """One round of the rescuer."""
    async with connection.transaction():
        return await children.rescue(connection, **limits)


async def held_by(connection, node: int, cells: int = 1):
    """A parent whose children this node claimed."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    parent = await factories.parent(connection, owner, [lane] * cells)
    await fan_out(connection)
    return parent, owner, await factories.claim(connection, by=node)


async def test_children_of_a_node_without_heartbeat_are_ready_again(connection, recounted):
    """After ten seconds of silence they are queued, the attempt given back, the loss logged."""
    node = await factories.node(connection, age_seconds=nodes.DEAD_AFTER_SECONDS + 1)
    parent, _, (first, _) = await held_by(connection, node, 2)
    assert await rescue(connection) == Rescued(2, 0, [])
    row = await children.one(connection, parent, first.ordinal)
    assert row is not None
    assert (str(row.state), row.attempt) == ("queued", 0)
    assert [(entry.status, entry.code) for entry in row.log] == [("lost", "WORKER_LOST")]
    assert {child.attempt for child in await factories.claim(connection)} == {1}
    await recounted()


async def test_children_of_a_node_that_was_never_there_are_ready_again(connection):
    """A node without a row is dead."""
    parent, _, _ = await held_by(connection, 4711)
    assert await rescue(connection) == Rescued(1, 0, [])
    assert await factories.states(connection, parent) == ["queued"]


async def test_living_nodes_keep_their_children(connection):
    """A heartbeat younger than ten seconds protects them, however long the capture takes."""
    alive = await factories.node(connection, age_seconds=nodes.DEAD_AFTER_SECONDS - 5)
    parent, _, _ = await held_by(connection, alive)
    await connection.execute("UPDATE child SET claimed_at = now() - interval '1 hour'")
    dead = await factories.node(connection, age_seconds=60)
    other, _, _ = await held_by(connection, dead)
    assert await rescue(connection) == Rescued(1, 0, [])
    assert await factories.states(connection, parent) == ["processing"]
    assert await factories.states(connection, other) == ["queued"]


async def test_a_heartbeat_brings_a_node_back(connection, one_session):
    """A node that was silent and beats again keeps what nobody took meanwhile."""
    node = await factories.node(connection, age_seconds=60)
    await held_by(connection, node)
    new = nodes.NewNode(host="test", pid=1, slots=1, surfaces=[factories.SURFACE])
    nodes.beat(one_session, node, new)
    assert await rescue(connection) == Rescued(0, 0, [])
    await nodes.leave(connection, node)
    nodes.beat(one_session, node, new)
    assert await rescue(connection) == Rescued(0, 0, [])
    assert await nodes.serving(connection) == {factories.SURFACE: 1}


async def test_a_child_lost_again_and_again_fails_and_ends_its_parent(connection, recounted):
    """However it is run its workers die: WORKER_LOST. Each claim says how often it was lost."""
    parent, owner, _ = await held_by(connection, 1001)
    for lost in range(1, LOST_LIMIT):
        assert await rescue(connection) == Rescued(1, 0, [])
        (child,) = await factories.claim(connection, by=1001 + lost)
        assert child.lost == lost
    assert await rescue(connection) == Rescued(0, 1, [parent])
    row = await children.one(connection, parent, 1)
    assert row is not None
    assert (str(row.state), row.attempt) == ("failed", 1)
    assert row.error is not None
    assert row.error.code == "WORKER_LOST"
    assert row.finished_at is not None
    ended = await parents.read(connection, key_id=owner.id, parent=parent)
    assert ended is not None
    assert (str(ended.state), ended.done, ended.failed) == ("failed", 1, 1)
    assert await rescue(connection) == Rescued(0, 0, [])
    await recounted()


async def test_who_is_blamed_is_a_suspect_once_it_is_lost(connection, one_session):
    """A node that ends because of one child says so; another's claim changes nothing."""
    _, _, (guilty, other) = await held_by(connection, 1001, 2)
    children.blame(one_session, factories.fence(guilty))
    children.blame(one_session, factories.fence(other)._replace(claim=other.claim + 1))
    assert await rescue(connection) == Rescued(2, 0, [])
    again = await factories.claim(connection, by=1002)
    assert {child.ordinal: child.lost for child in again} == {
        guilty.ordinal: SUSPECT_AFTER,
        other.ordinal: 1,
    }
    children.blame(one_session, factories.fence(again[0]))
    assert await factories.scalar(connection, "SELECT max(lost) FROM child") == SUSPECT_AFTER


async def test_a_child_lost_for_good_shows_no_response_of_an_earlier_attempt(connection):
    """The upstream's code of a retry long ago is not the code of the lost attempt."""
    parent, _, (child,) = await held_by(connection, 1001)
    await factories.settle(connection, factories.retried(child))
    await children.stage(connection)
    await connection.execute("UPDATE child SET lost = %s", [LOST_LIMIT - 1])
    await factories.claim(connection, by=1002)
    await rescue(connection)
    row = await children.one(connection, parent, 1)
    assert row is not None
    assert (str(row.state), row.response_code) == ("failed", None)


async def test_a_parent_with_completed_children_ends_partial_when_the_last_is_lost(connection):
    """What came home is kept."""
    parent, owner, claimed = await held_by(connection, 1001, 2)
    await factories.complete(connection, claimed[:1])
    last = "UPDATE child SET lost = %s WHERE state = 'processing'"
    await connection.execute(last, [LOST_LIMIT - 1])
    assert await rescue(connection) == Rescued(0, 1, [parent])
    ended = await parents.read(connection, key_id=owner.id, parent=parent)
    assert ended is not None
    assert str(ended.state) == "partial"


async def test_a_rescue_is_bounded(connection):
    """At most so many at once; the rest is rescued next."""
    parent, _, _ = await held_by(connection, 1001, 5)
    assert await rescue(connection, most=3) == Rescued(3, 0, [])
    assert await rescue(connection, most=3) == Rescued(2, 0, [])
    assert await factories.states(connection, parent) == ["queued"] * 5


async def test_the_dead_are_buried_when_they_hold_nothing(connection):
    """A dead node's row goes once its children are taken back; living nodes stay."""
    dead = await factories.node(connection, age_seconds=60)
    alive = await factories.node(connection)
    await held_by(connection, dead)
    assert await nodes.bury(connection) == []
    await rescue(connection)
    assert await nodes.bury(connection) == [dead]
    assert await factories.scalar(connection, "SELECT array_agg(id) FROM node") == [alive]
