import pytest

from orchestrator.fanout import fan_out
from orchestrator.store import children
from orchestrator.store.children import Staged
from tests import factories

pytestmark = pytest.mark.anyio


async def retrying(connection, delays):
    """Children of one parent that wait so many seconds for their next attempt."""
    owner = await factories.key(connection)
    lane = await factories.lane(connection)
    parent = await factories.parent(connection, owner, [lane] * len(delays))
    await fan_out(connection)
    claimed = sorted(await factories.claim(connection), key=lambda child: child.ordinal)
    await factories.settle(
        connection,
        *(factories.retried(child, delay) for child, delay in zip(claimed, delays, strict=True)),
    )
    return parent


async def test_only_what_is_due_becomes_ready(connection, recounted):
    """Due children are queued again, the others wait; the next due time is told."""
    parent = await retrying(connection, [0, 600, 0, 60])
    staged = await children.stage(connection)
    assert staged.children == 2
    assert staged.next_seconds is not None
    assert 1 < staged.next_seconds <= 60
    assert await factories.states(connection, parent) == [
        "queued",
        "retrying",
        "queued",
        "retrying",
    ]
    rows = await children.of(connection, parent)
    assert [row.run_at is None for row in rows] == [True, False, True, False]
    await recounted()
    assert len(await factories.claim(connection)) == 2


async def test_nothing_to_stage_is_no_error(connection):
    """Without children between attempts there is nothing to do and nothing to wait for."""
    assert await children.stage(connection) == Staged(0, None)


async def test_a_stage_is_bounded_and_takes_the_most_overdue_first(connection):
    """At most as many as asked for, those due longest first."""
    parent = await retrying(connection, [0, 0, 0])
    await connection.execute(
        "UPDATE child SET run_at = now() - ordinal * interval '1 minute' WHERE ordinal > 1"
    )
    assert (await children.stage(connection, most=2)).children == 2
    assert await factories.states(connection, parent) == ["retrying", "queued", "queued"]
    staged = await children.stage(connection)
    assert staged == Staged(1, None)


async def test_what_is_overdue_and_left_is_due_at_once(connection):
    """The seconds until the next are negative when some are due already."""
    await retrying(connection, [0, 0])
    staged = await children.stage(connection, most=1)
    assert staged.next_seconds is not None
    assert staged.next_seconds <= 0
