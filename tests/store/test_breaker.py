"""The breaker of a lane: ten failures in a row open it, a probe that works closes it."""

import msgspec
import pytest

from orchestrator.domain.lanes import LONGEST_PAUSE_SECONDS, PAUSE_SECONDS, STRIKES
from orchestrator.fanout import fan_out
from orchestrator.store import children, surfaces
from orchestrator.store.children import Failed, Outcome
from orchestrator.store.children.rescue import LOST_LIMIT
from orchestrator.surfaces import SurfaceDescriptor
from tests import factories

pytestmark = pytest.mark.anyio

HOPELESS = msgspec.structs.replace(factories.FAILURE, retryable=False)


class Bench:
    """A lane with more work than it can do, and what its breaker says."""

    def __init__(self, connection) -> None:
        self._connection = connection

    async def set(self, *, parents: int = 60) -> None:
        self.owner = await factories.key(self._connection, concurrency=500)
        self.lane = await factories.lane(self._connection, concurrency=100)
        await factories.some_parents(self._connection, self.owner, [self.lane], n=parents)
        await fan_out(self._connection, parents=parents)

    async def claim(self, n: int = 100):
        return await factories.claim(self._connection, slots=n)

    async def end(self, claimed, how) -> None:
        """Settle these in one batch."""
        await factories.settle(self._connection, *map(how, claimed))

    async def fail(self, n: int) -> None:
        """So many attempts that start and fail, one after the other."""
        for _ in range(n):
            await self.end(await self.claim(1), put_off)

    async def said(self) -> tuple[int, int | None]:
        """Failures in a row, and how many seconds the lane is closed from now on (None: open)."""
        cursor = await self._connection.execute(
            "SELECT failures, round(extract(epoch FROM open_until - now()))::int FROM lane"
            " WHERE id = %s",
            [self.lane],
        )
        return (await cursor.fetchall())[0]

    async def wait(self) -> None:
        """The pause is over."""
        await self._connection.execute(
            "UPDATE lane SET open_until = now() - interval '1 second' WHERE open_until IS NOT NULL"
        )


def put_off(child) -> Outcome:
    """A transient failure whose next attempt is far away."""
    return factories.retried(child, 3600)


def hopeless(child) -> Outcome:
    """A failure that says nothing of the lane."""
    return Failed(factories.fence(child), HOPELESS, 400)


@pytest.fixture
async def bench(connection) -> Bench:
    made = Bench(connection)
    await made.set()
    return made


async def test_ten_failures_in_a_row_open_the_breaker(bench, recounted):
    """After the tenth nothing starts for five seconds; the children stay queued."""
    await bench.fail(STRIKES - 1)
    assert await bench.said() == (STRIKES - 1, None)
    await bench.fail(1)
    assert await bench.said() == (STRIKES, PAUSE_SECONDS)
    assert await bench.claim() == []
    await recounted()


@pytest.mark.parametrize("how", [put_off, factories.failed], ids=["retry", "given up"])
async def test_failures_of_one_batch_count_each(bench, how):
    """Those to be tried again and those whose last attempt it was."""
    await bench.end(await bench.claim(7), how)
    assert await bench.said() == (7, None)
    await bench.end(await bench.claim(40), how)
    assert await bench.said() == (STRIKES, PAUSE_SECONDS)


async def test_other_lanes_go_on(connection, bench):
    """A breaker stops its own lane only."""
    other = await factories.lane(connection, "GB")
    await bench.fail(STRIKES)
    parent = await factories.parent(connection, bench.owner, [other])
    await fan_out(connection)
    (child,) = await bench.claim()
    assert child.parent_id == parent


async def test_sync_children_do_not_pass_an_open_breaker(connection, bench):
    """Nobody starts anything there, however long somebody waits."""
    await bench.fail(STRIKES)
    await factories.sync_parent(connection, bench.owner, [bench.lane])
    assert await bench.claim() == []


async def test_one_probe_at_a_time_after_the_pause(connection, bench):
    """One child, sync before async; the next only when that one is back."""
    await bench.fail(STRIKES)
    await bench.wait()
    waited = await factories.sync_parent(connection, bench.owner, [bench.lane])
    (probe,) = await bench.claim()
    assert probe.parent_id == waited
    assert await bench.claim() == []
    await bench.end([probe], factories.given_back)
    assert len(await bench.claim()) == 1


async def test_a_probe_waits_for_what_started_before_the_breaker_opened(bench):
    """While anything of the lane still runs there is no need to ask again."""
    running = await bench.claim(1)
    await bench.fail(STRIKES)
    await bench.wait()
    assert await bench.claim() == []
    await bench.end(running, hopeless)
    assert len(await bench.claim()) == 1


async def test_a_probe_that_works_closes_the_breaker(bench):
    """Everything starts again, and ten new failures are needed to stop it."""
    await bench.fail(STRIKES)
    await bench.wait()
    await bench.end(await bench.claim(), factories.completed)
    assert await bench.said() == (0, None)
    assert len(await bench.claim(5)) == 5


async def test_each_probe_that_fails_doubles_the_pause(bench):
    """Up to a minute."""
    await bench.fail(STRIKES)
    pauses = []
    for _ in range(6):
        await bench.wait()
        await bench.fail(1)
        pauses.append((await bench.said())[1])
    assert pauses == [10, 20, 40, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, 60]
    await bench.wait()
    await bench.end(await bench.claim(), factories.completed)
    await bench.fail(STRIKES)
    assert await bench.said() == (STRIKES, PAUSE_SECONDS)


async def test_a_lane_that_failed_for_ages_still_has_a_pause(connection, bench):
    """However many probes failed, the pause is a number."""
    await bench.fail(STRIKES)
    await bench.wait()
    await connection.execute("UPDATE lane SET failures = 2000000000")
    await bench.fail(1)
    assert await bench.said() == (2_000_000_001, LONGEST_PAUSE_SECONDS)


async def test_what_fails_while_the_breaker_is_open_says_nothing_new(bench):
    """It had started before; neither the count nor the pause grows."""
    running = await bench.claim(20)
    await bench.fail(STRIKES)
    before = await bench.said()
    await bench.end(running, put_off)
    assert await bench.said() == before


async def test_what_comes_home_while_the_breaker_is_open_closes_it(bench):
    """It had started before, and yet it works."""
    running = await bench.claim(1)
    await bench.fail(STRIKES)
    await bench.end(running, factories.completed)
    assert await bench.said() == (0, None)


async def test_one_success_in_a_batch_ends_the_row(bench):
    """Failures beside it are not counted: their order is nobody's."""
    await bench.fail(STRIKES - 1)
    worked, *others = await bench.claim(20)
    outcomes = [*map(put_off, others), factories.completed(worked)]
    await factories.settle(bench._connection, *outcomes)
    assert await bench.said() == (0, None)


@pytest.mark.parametrize("how", [hopeless, factories.given_back], ids=["permanent", "given back"])
async def test_what_says_nothing_of_the_lane_changes_nothing(bench, how):
    """Neither adds to the row nor ends it."""
    await bench.end(await bench.claim(30), how)
    assert await bench.said() == (0, None)
    await bench.fail(5)
    await bench.end(await bench.claim(30), how)
    assert await bench.said() == (5, None)


async def test_a_child_lost_with_its_node_is_not_the_lanes_fault(connection, bench):
    """A rescue neither adds to the row nor ends it."""
    await bench.fail(5)
    await factories.claim(connection, by=4711, slots=30)
    first = "UPDATE child SET lost = %s WHERE state = 'processing' AND ordinal = 1"
    await connection.execute(first, [LOST_LIMIT - 1])
    async with connection.transaction():
        assert (await children.rescue(connection)).failed == 30
    assert await bench.said() == (5, None)


async def test_a_stale_outcome_is_no_strike(connection, bench):
    """A failure whose fence does not hold was counted elsewhere, or never was."""
    (child,) = await bench.claim(1)
    await factories.settle(connection, put_off(child._replace(claim=child.claim ^ 1)))
    assert await bench.said() == (0, None)


async def test_healthy_work_never_writes_a_lane(connection, bench):
    """Neither a new version nor a lock: all workers settle through that row."""
    seen = "SELECT (xmin, xmax, ctid)::text FROM lane"
    before = await factories.scalar(connection, seen)
    await bench.end(await bench.claim(20), factories.completed)
    await bench.end(await bench.claim(20), hopeless)
    assert await factories.scalar(connection, seen) == before


async def test_failures_counted_at_once_are_counted_both(connection, connect, meeting, bench):
    """The second settle waits for the first and adds to what that wrote."""
    one, other = await connect(), await connect()
    first, second = await bench.claim(4), await bench.claim(6)
    async with one.transaction():
        await factories.settle(one, *map(put_off, first))
        waiting = await meeting.begin(other, factories.settle(other, *map(put_off, second)))
        assert not waiting.done()
    await waiting
    assert await bench.said() == (STRIKES, PAUSE_SECONDS)


async def test_two_claims_never_send_two_probes(connection, connect, meeting, bench):
    """The second sees what the first sent."""
    await bench.fail(STRIKES)
    await bench.wait()
    one, other = await connect(), await connect()
    async with one.transaction():
        assert len(await factories.claim(one)) == 1
        second = await meeting.begin(other, factories.claim(other))
    assert await second == []


async def test_a_lane_whose_upstreams_are_each_jobs_own_learns_nothing(connection, bench):
    """However often their calls fail or throttle: the next one's is another's."""
    await connection.execute("UPDATE lane SET learns = false")
    fences = map(factories.fence, await bench.claim(20))
    failed = (Failed(fence, factories.FAILURE, 429, 60.0) for fence in fences)
    await factories.settle(connection, *failed)
    await bench.end(await bench.claim(20), put_off)
    learned = "SELECT failures, open_until, adaptive, halved_at, not_before FROM lane"
    assert await (await connection.execute(learned)).fetchone() == (0, None, None, None, None)
    assert await bench.claim(1)


async def test_a_lane_that_learns_no_more_forgets(connection, bench):
    """When its surface is registered so; and learns again when it is registered otherwise."""
    await bench.fail(STRIKES)
    assert (await bench.said())[0] == STRIKES
    surface = SurfaceDescriptor(
        name=factories.SURFACE, adapter="webhook", method="webhook", options_schema={}
    )
    for learns in (False, True):
        described = msgspec.structs.replace(surface, learns=learns)
        async with connection.transaction():
            await surfaces.register(connection, [described])
        assert await bench.said() == (0, None)
        kept = await factories.scalar(connection, "SELECT learns FROM lane")
        assert kept is learns
