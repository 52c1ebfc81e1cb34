"""The steward and the stager: what is due of itself is done, and the next moment known."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.notify import POLL_SECONDS
from orchestrator.store import deliveries, group_actions, groups
from orchestrator.store.deliveries import Range
from tests import factories
from tests.store import telling
from tests.workers.database import pool_of
from workers.roles.stager import Stager
from workers.roles.steward import Steward

pytestmark = pytest.mark.anyio


@pytest.fixture
async def owner(connection):
    return await factories.key(connection)


@pytest.fixture
async def lane(connection):
    return await factories.lane(connection)


async def state(connection, parent) -> str:
    found = await factories.scalar(connection, "SELECT state FROM parent WHERE id = %s", parent)
    return str(found)


async def test_an_overdue_parent_is_expired_and_the_next_deadline_awaited(
    connection, database, owner, lane
):
    """It steps again at once after work, and rests no longer than to the next deadline."""
    late = await factories.new_waiting(connection, owner, [lane], deadline=60)
    soon = await factories.new_waiting(connection, owner, [lane], deadline=60)
    await connection.execute(
        "UPDATE parent SET deadline_at = now() - interval '1 s' WHERE id = %s", [late]
    )
    async with pool_of(database) as pool:
        steward = Steward(pool)
        assert await steward.step() == 0
        assert await steward.step() == POLL_SECONDS
        await connection.execute(
            "UPDATE parent SET deadline_at = now() + interval '0.5 s' WHERE id = %s", [soon]
        )
        assert 0 < await steward.step() < POLL_SECONDS
    assert (await state(connection, late), await state(connection, soon)) == ("expired", "queued")


async def test_what_is_asked_of_a_group_is_done(connection, database, owner, lane):
    """Batch by batch, until there is nothing to do."""
    (group,) = (await groups.ensure(connection, [(owner.id, "night")])).values()
    parents = [await factories.parent(connection, owner, [lane]) for _ in range(3)]
    await connection.execute("UPDATE parent SET group_id = %s", [group])
    async with connection.transaction():
        await group_actions.request(connection, key_id=owner.id, group_id=group, kind="cancel")
    async with pool_of(database) as pool:
        steward = Steward(pool)
        while not await steward.step():
            pass
    assert {await state(connection, parent) for parent in parents} == {"canceled"}


async def test_a_range_of_deliveries_is_sent_again(connection, database, owner, lane):
    """Batch by batch, until there is nothing to do; then it rests."""
    await telling.ended(connection, owner, lane, n=3)
    await telling.record(connection, await telling.claim(connection, telling.endpoint(owner)))
    day, now = timedelta(days=1), datetime.now(UTC)
    async with connection.transaction():
        asked = Range(owner.id, ("delivered",), now - day, now + day)
        assert await deliveries.request(connection, asked) == 3
    async with pool_of(database) as pool:
        steward = Steward(pool)
        while not await steward.step():
            pass
        assert await steward.step() == POLL_SECONDS
    assert len(await telling.claim(connection, telling.endpoint(owner))) == 3


async def test_a_delayed_parent_is_released_when_it_is_due(connection, database, owner, lane):
    """The dispatcher is told; the stager sleeps no longer than to the next."""
    parent = await factories.new_waiting(connection, owner, [lane], delay=60)
    told: list[str] = []
    async with pool_of(database) as pool:
        stager = Stager(
            pool, ready=lambda: told.append("child"), released=lambda: told.append("parent")
        )
        assert await stager.step() == POLL_SECONDS
        await connection.execute("UPDATE parent SET not_before = now() + interval '0.5 s'")
        assert 0 < await stager.step() < POLL_SECONDS
        await connection.execute("UPDATE parent SET not_before = now()")
        assert await stager.step() == POLL_SECONDS
    assert told == ["parent"]
    assert await state(connection, parent) == "queued"
