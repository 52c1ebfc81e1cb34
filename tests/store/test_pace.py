"""Rates and floors of lanes: what claims may start, and when they may start more."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.domain import lanes as pure
from orchestrator.fanout import fan_out
from orchestrator.store import children
from orchestrator.store.children import Claimed, Retry
from tests import factories

pytestmark = pytest.mark.anyio

FILL = """
INSERT INTO lane_pace (lane_id, tokens, filled_at)
VALUES (%s, %s, extract(epoch FROM clock_timestamp()) + %s)
ON CONFLICT (lane_id) DO UPDATE SET tokens = excluded.tokens, filled_at = excluded.filled_at
"""
TOKENS = "SELECT tokens FROM lane_pace WHERE lane_id = %s"


@pytest.fixture
async def owner(connection):
    return await factories.key(connection, concurrency=500)


async def lane(connection, owner, rate: float, *, country: str = "US", parents: int = 40) -> int:
    """A lane of this rate with so much ready, its bucket full."""
    made = await factories.lane(connection, country)
    await factories.some_parents(connection, owner, [made], n=parents)
    await fan_out(connection, parents=parents)
    await connection.execute("UPDATE lane SET rate = %s WHERE id = %s", [rate, made])
    await fill(connection, made, 1e9)
    return made


async def fill(connection, lane: int, tokens: float, *, after: float = 0.0) -> None:
    """The bucket had so many tokens so many seconds from now."""
    await connection.execute(FILL, [lane, tokens, after])


async def claim(connection, n: int = 100):
    return await factories.claim(connection, slots=n)


async def test_a_claim_takes_tokens_and_no_more_than_there_are(connection, owner, recounted):
    """Three quarters of a second's starts at once; the next wait for tokens."""
    paced = await lane(connection, owner, 12.0)
    assert len(await claim(connection, 4)) == 4
    assert 5 <= await factories.scalar(connection, TOKENS, paced) < 6
    assert len(await claim(connection)) in {5, 6}
    await fill(connection, paced, 0.5, after=60)
    assert await claim(connection) == []
    await recounted()


async def test_other_lanes_start_meanwhile(connection, owner):
    """A lane without tokens keeps its own children only."""
    paced = await lane(connection, owner, 12.0)
    await fill(connection, paced, 0.0, after=60)
    free = await factories.lane(connection, "GB")
    parents = await factories.some_parents(connection, owner, [free], n=5)
    await fan_out(connection)
    assert {child.parent_id for child in await claim(connection)} == set(parents)


async def test_what_is_given_back_does_not_give_its_token_back(connection, owner):
    """It may have started."""
    paced = await lane(connection, owner, 4.0)
    taken = await claim(connection)
    await fill(connection, paced, 0.0, after=60)
    await factories.settle(connection, *map(factories.given_back, taken))
    assert await claim(connection) == []


async def test_a_rate_that_changes_counts_at_once(connection, owner):
    """What the bucket holds more than its new rate allows is gone."""
    paced = await lane(connection, owner, 40.0)
    await connection.execute("UPDATE lane SET rate = 0.1")
    assert len(await claim(connection)) == 1
    await connection.execute("UPDATE lane SET rate = NULL")
    assert len(await claim(connection)) == 39
    assert await factories.scalar(connection, TOKENS, paced) < 1


async def test_a_bucket_nobody_knows_is_empty(connection, owner):
    """So it is after a crash and on a promoted standby: what was taken last may be forgotten."""
    paced = await lane(connection, owner, 4.0)
    await connection.execute("DELETE FROM lane_pace")
    assert await claim(connection) == []
    assert await factories.scalar(connection, TOKENS, paced) == 0, "it fills from now on"
    await fill(connection, paced, 0.0, after=-0.5)
    assert len(await claim(connection)) in {2, 3}
    unlogged = "SELECT count(*) FROM pg_class WHERE relname = 'lane_pace' AND relpersistence = 'u'"
    assert await factories.scalar(connection, unlogged) == 1


@pytest.mark.parametrize("slow", [0, 12], ids=["short calls", "long calls"])
async def test_keys_share_a_rate_by_their_weights(connection, slow):
    """Start by start, however few at a time and however long the calls take."""
    paced = await factories.lane(connection, concurrency=100)
    await connection.execute("UPDATE lane SET rate = 1.3")  # never two tokens
    light, heavy = [
        await factories.key(connection, weight=weight, queue_capacity=1000) for weight in (1, 3)
    ]
    for key in (light, heavy):
        await factories.some_parents(connection, key, [paced], n=300)
    running: list[Claimed] = []
    for _ in range(200):
        await fill(connection, paced, 1.0)
        while await fan_out(connection):
            pass
        running += await claim(connection)
        while len(running) > slow:
            await factories.complete(connection, [running.pop(0)])
    done = "SELECT count(*) FROM parent WHERE state = 'completed' AND key_id = %s"
    one, three = [await factories.scalar(connection, done, key.id) for key in (light, heavy)]
    assert one + three >= 180
    assert three / one == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("tokens", [1, 5])
async def test_who_comes_anew_to_a_rate_has_no_claim_on_the_past(connection, tokens):
    """A key that was not there has its share from now on, neither more nor less."""
    paced = await factories.lane(connection, concurrency=100)
    await connection.execute("UPDATE lane SET rate = %s", [tokens / 0.75 + 0.01])  # no more
    old, new = [await factories.key(connection, queue_capacity=1000) for _ in range(2)]
    owners: dict[object, int] = {}

    async def waiting(key, n: int) -> None:
        made = await factories.some_parents(connection, key, [paced], n=n)
        owners.update(dict.fromkeys(made, key.id))

    async def rounds(n: int) -> list[int]:
        """Whose children started, one after another."""
        started: list[int] = []
        for _ in range(n):
            await fill(connection, paced, float(tokens))
            while await fan_out(connection):
                pass
            claimed = await claim(connection)
            started += [owners[child.parent_id] for child in claimed]
            await factories.complete(connection, claimed)
        return started

    await waiting(old, 200)
    assert set(await rounds(15)) == {old.id}
    await waiting(new, 100)
    assert (await rounds(4)).count(new.id) <= 2 * tokens + 1, "its share, and no more"
    started = await rounds(10)
    assert len(started) == 10 * tokens
    assert started.count(new.id) == pytest.approx(5 * tokens, abs=2)


async def shares(connection, paced: int, keys, *, rounds: int, also=None) -> list[int]:
    """How many children of each key start while one token comes a round."""
    done = "SELECT count(*) FROM parent WHERE state = 'completed' AND key_id = %s"
    before = [await factories.scalar(connection, done, key.id) for key in keys]
    for n in range(rounds):
        await fill(connection, paced, 1.0)
        if also:
            await also(n)
        while await fan_out(connection):
            pass
        await factories.complete(connection, await claim(connection))
    after = [await factories.scalar(connection, done, key.id) for key in keys]
    return [now - was for was, now in zip(before, after, strict=True)]


async def test_sync_starts_leave_the_shares_of_others_as_they_are(connection):
    """They go first, in nobody's turn."""
    paced = await factories.lane(connection, concurrency=100)
    await connection.execute("UPDATE lane SET rate = 1.3")
    light, heavy, caller = [
        await factories.key(connection, weight=weight, queue_capacity=1000) for weight in (1, 3, 1)
    ]
    for key in (light, heavy):
        await factories.some_parents(connection, key, [paced], n=200)

    async def call(n: int) -> None:
        if n % 3 == 0:
            await factories.sync_parent(connection, caller, [paced])

    one, three, calls = await shares(
        connection, paced, (light, heavy, caller), rounds=150, also=call
    )
    assert calls >= 45
    assert one + three >= 90
    assert three / one == pytest.approx(3, rel=0.1)


async def test_a_raised_weight_counts_at_once(connection):
    """What a key had started at the old one does not keep it waiting."""
    paced = await factories.lane(connection, concurrency=100)
    await connection.execute("UPDATE lane SET rate = 1.3")
    raised, other = [
        await factories.key(connection, weight=weight, queue_capacity=1000) for weight in (0.01, 1)
    ]
    for key in (raised, other):
        await factories.some_parents(connection, key, [paced], n=100)
    await shares(connection, paced, (raised, other), rounds=6)
    await connection.execute("UPDATE api_key SET weight = 1 WHERE id = %s", [raised.id])
    assert await shares(connection, paced, (raised, other), rounds=20) == [10, 10]


async def test_turns_that_are_past_are_forgotten(connection, owner):
    """Those that are to come stay, or who had its share would have it again."""
    paced = await lane(connection, owner, 10.0)
    assert len(await claim(connection, 5)) == 5
    turns = "SELECT count(*) FROM lane_turn"
    assert await children.forget_turns(connection) == 0
    assert await factories.scalar(connection, turns) == 1
    await connection.execute("UPDATE lane_pace SET turn = 1000 WHERE lane_id = %s", [paced])
    assert await children.forget_turns(connection) == 1
    await fill(connection, paced, 9.0)
    assert len(await claim(connection, 1)) == 1
    await connection.execute("UPDATE lane SET rate = NULL")
    assert await children.forget_turns(connection) == 1


async def test_nothing_starts_before_the_upstream_wants_it(connection, owner):
    """One answer with a Retry-After stops the whole lane; another that asks for less does not."""
    await lane(connection, owner, 1000.0)
    one, two, three = await claim(connection, 3)
    throttled = Retry(factories.fence(one), factories.FAILURE, 0.0, 429, 3600.0)
    await factories.settle(connection, throttled)
    assert await claim(connection) == []
    less = Retry(factories.fence(two), factories.FAILURE, 0.0, 429, 1.0)
    await factories.settle(connection, less, factories.completed(three))
    assert await claim(connection) == []
    await connection.execute("UPDATE lane SET not_before = now()")
    assert await claim(connection)


async def test_nothing_starts_in_a_paused_lane(connection, owner):
    """Sync children neither."""
    paced = await lane(connection, owner, 1000.0)
    await factories.sync_parent(connection, owner, [paced])
    await connection.execute("UPDATE lane SET paused_at = now()")
    assert await claim(connection) == []
    assert await children.next_start(connection, [factories.SURFACE]) is None


async def test_an_operators_limit_bounds_what_runs(connection, owner):
    """Never more than configured; taken away it bounds nothing."""
    made = await lane(connection, owner, 1000.0)
    await connection.execute("UPDATE lane SET limited = 3 WHERE id = %s", [made])
    assert len(await claim(connection)) == 3
    await connection.execute("UPDATE lane SET limited = NULL, adaptive = 7")
    assert len(await claim(connection)) == 3, "four or more leave a place free for sync"
    await connection.execute("UPDATE lane SET limited = 500, concurrency = 5, adaptive = NULL")
    assert await claim(connection) == []


async def test_an_operators_limit_bounds_sync_work_too(connection, owner):
    """Whoever waits does not pass it either."""
    made = await factories.lane(connection)
    for _ in range(5):
        await factories.sync_parent(connection, owner, [made])
    await connection.execute("UPDATE lane SET limited = 2 WHERE id = %s", [made])
    assert len(await claim(connection)) == 2


async def test_the_next_start_is_when_time_lets_something_start(connection, owner):
    """A token, the upstream's moment, a probe; nothing of it where nothing is ready."""

    async def due() -> float | None:
        return await children.next_start(connection, [factories.SURFACE])

    assert await due() is None
    paced = await lane(connection, owner, 0.5)
    assert await due() is None, "it may start at once"
    await fill(connection, paced, 0.0)
    assert await due() == pytest.approx(2.25, abs=0.5)
    await connection.execute("UPDATE lane SET not_before = clock_timestamp() + interval '1 hour'")
    assert await due() == pytest.approx(3600, abs=10)
    assert await children.next_start(connection, ["another"]) is None
    await connection.execute("UPDATE lane SET not_before = NULL, rate = NULL")
    assert await due() is None
    await connection.execute("UPDATE lane SET open_until = clock_timestamp() + interval '1 minute'")
    assert await due() == pytest.approx(60, abs=5)
    await connection.execute("UPDATE lane SET limited = 1, open_until = NULL, rate = 0.5")
    await fill(connection, paced, 5.0)
    await claim(connection)
    await fill(connection, paced, 0.0, after=60)
    assert await due() is None, "it waits for what runs, not for time"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.floats(1e-4, 1e4),
    tokens=st.floats(-1, 1e5),
    age=st.integers(-100, 100_000),
)
def test_the_bucket_is_the_one_the_proof_is_about(one_session, rate, tokens, age):
    """Capacity and refill in SQL are those of `domain.lanes`, whatever there is."""
    now = 2e9
    found = one_session.execute(
        "SELECT pace_refill(%(rate)s), pace_tokens(%(rate)s, %(tokens)s, %(filled)s, %(now)s),"
        " pace_tokens(%(rate)s, NULL, NULL, %(now)s)",
        {"rate": rate, "tokens": tokens, "filled": now - age, "now": now},
    ).fetchone()
    refill, capacity = pure.refill(rate), pure.capacity(rate)
    expected = min(capacity, tokens + refill * max(0, age))
    assert found == pytest.approx((refill, expected, 0), rel=1e-6, abs=1e-3)
