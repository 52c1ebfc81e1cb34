"""What lanes learn from outcomes in SQL is what `domain.lanes.after` says."""

from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.domain import lanes as pure
from orchestrator.domain.lanes import Batch, Lane
from orchestrator.fanout import fan_out
from orchestrator.store.children import Completed, Failed, Retry
from tests import factories

pytestmark = pytest.mark.anyio

READ = """
SELECT concurrency, limited, adaptive, good, halved_at, failures, open_until, not_before
FROM lane WHERE id = %s
"""
ALLOWED = "SELECT allowed FROM lane"


async def stored(connection, lane: int) -> Lane:
    """The lane as the database has it."""
    cursor = await connection.execute(READ, [lane])
    row = await cursor.fetchone()
    assert row
    return Lane(**dict(zip([column.name for column in cursor.description], row, strict=True)))


async def prepare(connection, lane: int, to: Lane, now: datetime) -> None:
    await connection.execute(
        "UPDATE lane SET concurrency = %s, limited = %s, adaptive = %s, good = %s, halved_at = %s,"
        " failures = %s, open_until = %s, not_before = %s WHERE id = %s",
        [
            *(to.concurrency, to.limited, to.adaptive, to.good, to.halved_at, to.failures),
            *(to.open_until, to.not_before, lane),
        ],
    )


OUTCOMES = {
    "completed": lambda fence: Completed(fence, factories.CAPTURE, 200),
    "broken": lambda fence: Retry(fence, factories.FAILURE, 3600.0, 500),
    "throttled": lambda fence: Retry(fence, factories.FAILURE, 3600.0, 429),
    "unavailable": lambda fence: Failed(fence, factories.FAILURE, 503),
    "asked to wait": lambda fence: Retry(fence, factories.FAILURE, 3600.0, 503, 30.0),
    "refused": lambda fence: Failed(
        fence, factories.FAILURE.__class__(code="X", message="no", retryable=False), 404
    ),
}
moments = st.none() | st.integers(-120, 120)
known = st.builds(
    dict,
    concurrency=st.integers(1, 12),
    limited=st.none() | st.integers(1, 12),
    adaptive=st.none() | st.integers(1, 11),
    good=st.integers(0, 12),
    halved_at=moments,
    failures=st.integers(0, 13),
    open_until=moments,
    not_before=moments,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    before=known,
    how=st.lists(st.sampled_from(sorted(OUTCOMES)), min_size=1, max_size=12),
    ages=st.lists(st.integers(0, 130), min_size=12, max_size=12),
)
async def test_a_settle_teaches_a_lane_what_the_pure_machine_says(connection, before, how, ages):
    """Whatever it knew, and whatever comes home of it in one batch."""
    lane, claimed = await _running(connection, len(how), ages)
    async with connection.transaction():
        now = await factories.scalar(connection, "SELECT now()")
        times = {
            name: None if before[name] is None else now + timedelta(seconds=before[name])
            for name in ("halved_at", "open_until", "not_before")
        }
        known = Lane(**{**before, **times})
        await prepare(connection, lane, known, now)
        outcomes = [
            OUTCOMES[name](factories.fence(child)) for name, child in zip(how, claimed, strict=True)
        ]
        claimed_at = await _claimed_at(connection)
        await factories.settle(connection, *outcomes)
        told = _told(how, [claimed_at[factories.fence(child)[:2]] for child in claimed], now)
        after = pure.after(known, told, now)
        assert await stored(connection, lane) == after
        assert await factories.scalar(connection, ALLOWED + " WHERE id = %s", lane) == after.allowed


def _told(how: list[str], claimed_at: list[datetime], now: datetime) -> Batch:
    """What these outcomes say of their lane."""
    throttled = {"throttled", "unavailable", "asked to wait"}
    return Batch(
        completed=how.count("completed"),
        failures=sum(name in {"broken", "unavailable", "asked to wait"} for name in how),
        throttled_at=max(
            (at for name, at in zip(how, claimed_at, strict=True) if name in throttled),
            default=None,
        ),
        not_before=now + timedelta(seconds=30) if "asked to wait" in how else None,
    )


async def _running(connection, n: int, ages: list[int]):
    """A lane of which so many run, claimed so many seconds ago."""
    owner = await factories.key(connection, concurrency=500)
    surface = owner.name.replace("-", "_")
    lane = await factories.lane(connection, surface=surface)
    await factories.some_parents(connection, owner, [lane], n=n)
    while await fan_out(connection):
        pass
    claimed = await factories.claim(connection, slots=n, surfaces=[surface])
    assert len(claimed) == n
    for child, age in zip(claimed, ages, strict=False):
        await connection.execute(
            "UPDATE child SET claimed_at = claimed_at - %s * interval '1 second'"
            " WHERE parent_id = %s AND ordinal = %s",
            [age, child.parent_id, child.ordinal],
        )
    return lane, claimed


async def _claimed_at(connection) -> dict[tuple[object, int], datetime]:
    cursor = await connection.execute(
        "SELECT parent_id, ordinal, claimed_at FROM child WHERE state = 'processing'"
    )
    return {(parent, ordinal): at for parent, ordinal, at in await cursor.fetchall()}


async def test_two_settles_at_once_teach_a_lane_in_turn(connection, connect, meeting):
    """The second learns from what the first left: one halving, though both saw none."""
    lane, claimed = await _running(connection, 2, [0, 0])
    first, second = await connect(), await connect()
    one, two = [OUTCOMES["throttled"](factories.fence(child)) for child in claimed]
    async with first.transaction():
        await factories.settle(first, one)
        waiting = await meeting.begin(second, factories.settle(second, two))
    await waiting
    assert await factories.scalar(connection, ALLOWED + " WHERE id = %s", lane) == 50
    assert (await stored(connection, lane)).failures == 1
