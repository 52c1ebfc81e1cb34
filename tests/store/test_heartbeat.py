"""The heartbeat: who lives, and who may say of others that they do not."""

from contextlib import AsyncExitStack
from functools import partial

import psycopg
import pytest
from psycopg import sql

from orchestrator.heartbeat import Heartbeat
from orchestrator.store import nodes
from tests import factories
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

NEW = nodes.NewNode(host="test", pid=1, slots=1, surfaces=[factories.SURFACE])


async def aged(connection, node: int, **seconds: float) -> None:
    """Move what a node's row says of it into the past, or the future."""
    for column, by in seconds.items():
        await connection.execute(
            sql.SQL("UPDATE node SET {0} = {0} - %s * interval '1 second' WHERE id = %s").format(
                sql.Identifier(column)
            ),
            [by, node],
        )


@pytest.fixture
async def well(connection) -> int:
    """A node that has beaten in time for long."""
    node = await factories.node(connection)
    await aged(connection, node, good_since=nodes.DEAD_AFTER_SECONDS)
    return node


async def test_who_beats_in_time_is_steady_after_a_while(connection, one_session, well):
    """Nobody is dead before the living could have said that they are not."""
    assert await nodes.steady(connection, well)
    nodes.beat(one_session, well, NEW)
    assert await nodes.steady(connection, well)
    await aged(connection, well, good_since=-1)
    assert not await nodes.steady(connection, well)


async def test_who_is_new_may_judge_where_another_was_there_for_long(connection, well):
    """When all workers died at once, one that begins need not wait: an API process was there."""
    new = await factories.node(connection)
    assert await nodes.steady(connection, new)
    await aged(connection, well, heartbeat_at=nodes.LATE_SECONDS + 1)
    assert not await nodes.steady(connection, new)


async def test_who_is_silent_itself_judges_nobody(connection, well):
    """By the clock and the row by which others are judged."""
    silent = await factories.node(connection, age_seconds=nodes.DEAD_AFTER_SECONDS + 1)
    assert not await nodes.steady(connection, silent)


@pytest.mark.parametrize("step", [nodes.LATE_SECONDS + 1, -60.0])
async def test_nobody_judges_after_an_outage_or_a_clock_that_was_set(
    connection, one_session, well, step
):
    """Neither before its next heartbeat nor after: that is late, and it counts anew."""
    await aged(connection, well, heartbeat_at=step)
    assert not await nodes.steady(connection, well)
    nodes.beat(one_session, well, NEW)
    assert not await nodes.steady(connection, well)


async def test_it_beats_on_after_its_connection_was_lost(connection, database):
    """The row of a node that was buried meanwhile is there again."""
    node = await factories.node(connection)
    heartbeat = Heartbeat(database, {"autocommit": True}, NEW, node_id=node)
    heartbeat.start()
    try:
        heartbeat.tried()
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        await connection.execute("DELETE FROM node")
        await connection.execute(
            f"{others} WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

        async def there() -> bool:
            alive = await nodes.all_nodes(connection)
            return [row.id for row in alive if row.alive] == [node]

        await eventually(there)
    finally:
        heartbeat.stop()


async def test_the_transactions_of_the_dead_are_ended(connection, database):
    """Whoever was stopped with a lock in its hands gives it back; who is well is not disturbed."""
    stopped, well = (
        nodes.NewNode("here", 101, 1, [factories.SURFACE], session=f"session {n}") for n in range(2)
    )
    ids = [await nodes.register(connection, node) for node in (stopped, well)]
    await connection.execute("UPDATE node SET heartbeat_at = now() - interval '1 min'")
    await connection.execute("UPDATE node SET heartbeat_at = now() WHERE id = %s", [ids[1]])
    async with AsyncExitStack() as stack:
        sessions = [
            await stack.enter_async_context(
                await psycopg.AsyncConnection.connect(database, application_name=node.session)
            )
            for node in (stopped, well)
        ]
        for session in sessions:
            await session.execute("SELECT")
        assert await nodes.cut_off_dead(connection) == 0  # they may be in the middle of something

        async def ended() -> int:
            return await nodes.cut_off_dead(connection)

        assert await eventually(ended) == 1
        with pytest.raises(psycopg.OperationalError):
            await sessions[0].execute("SELECT")
        await sessions[1].execute("SELECT")


async def test_sessions_without_a_name_are_nobodys(connection, database):
    """A node of an earlier version has told of none: a migration beside it goes on."""
    await factories.node(connection, age_seconds=60)
    async with await psycopg.AsyncConnection.connect(database) as other:
        await other.execute("SELECT")
        old = "SELECT xact_start < now() - interval '5 s' FROM pg_stat_activity WHERE pid = %s"

        async def long() -> bool:
            return await factories.scalar(connection, old, other.info.backend_pid)

        await eventually(long)
        assert await nodes.cut_off_dead(connection) == 0
        await other.execute("SELECT")


async def test_a_blocked_process_ends_its_own_transactions(connection, database, one_session):
    """It has a thread that can; the session of that thread stays."""
    new = NEW._replace(session="session")
    node = await nodes.register(connection, new)
    dead = await nodes.register(connection, NEW._replace(session="another"))
    await aged(connection, dead, heartbeat_at=nodes.DEAD_AFTER_SECONDS + 1)
    connecting = partial(psycopg.AsyncConnection.connect, database)
    async with (
        await connecting(application_name="session") as blocked,
        await connecting(application_name="another") as other,
    ):
        await other.execute("SELECT")
        await blocked.execute("SELECT")

        async def ended() -> int:
            return nodes.cut_off(one_session, node)

        assert await eventually(ended) == 1
        await other.execute("SELECT")  # it judges nobody
        with pytest.raises(psycopg.OperationalError):
            await blocked.execute("SELECT")
