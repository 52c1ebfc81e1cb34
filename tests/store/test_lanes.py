"""Lanes: made once, configured by who serves them, paused and limited by operators."""

import msgspec
import pytest

from orchestrator import notify, operating
from orchestrator.books import LaneBook
from orchestrator.domain.lanes import capacity
from orchestrator.fanout import fan_out
from orchestrator.store import lanes, surfaces
from orchestrator.store.lanes import LaneRow, Place
from orchestrator.surfaces import RegionLimits, SurfaceDescriptor, per_second
from tests import factories

pytestmark = pytest.mark.anyio

CHATGPT = SurfaceDescriptor(
    name="chatgpt",
    adapter="simulator",
    method="simulator",
    options_schema={"type": "object"},
    countries=("US", "GB"),
    concurrency=7,
    rate="10/s",
    regions={"GB": RegionLimits(concurrency=3, rate="30/min")},
)
OLDER = msgspec.structs.replace(CHATGPT, concurrency=1, rate=None, regions={})
US, GB = Place("chatgpt", "US"), Place("chatgpt", "GB")
FREE = LaneRow(
    id=0,
    surface="chatgpt",
    country="US",
    concurrency=4,
    rate=None,
    limited=None,
    adaptive=None,
    allowed=4,
    queued=0,
    processing=0,
    retrying=0,
    breaker="closed",
    open_until=None,
    paused_at=None,
    not_before=None,
)
AGE = "SELECT extract(epoch FROM clock_timestamp())::float8 - filled_at FROM lane_pace"
STOPPED = """
UPDATE lane SET paused_at = now(), not_before = now() + interval '1 hour', failures = 12,
                open_until = now() + interval '1 minute'
"""


def of(concurrency: int, rate: str | None = None) -> RegionLimits:
    return RegionLimits(concurrency=concurrency, rate=rate)


async def limits(connection) -> dict[str, tuple[int, float | None]]:
    """The concurrency and the rate (starts a second) of each lane, by surface and country."""
    rows = await lanes.all_lanes(connection)
    return {f"{row.surface} {row.country}": (row.concurrency, row.rate) for row in rows}


async def buckets(connection) -> dict[int, float]:
    """The tokens of each lane that has a bucket."""
    rows = await (await connection.execute("SELECT lane_id, tokens FROM lane_pace")).fetchall()
    return dict(rows)


async def the(connection) -> LaneRow:
    """The only lane there is."""
    (row,) = await lanes.all_lanes(connection)
    return row


async def test_a_lane_keeps_its_id_and_its_limits(connection):
    """Ensuring a lane again finds it as it is; only new ones are made."""
    first = await lanes.ensure(connection, {US: of(5, "600/min")})
    both = await lanes.ensure(connection, {GB: of(9), US: of(99)})
    assert both[US] == first[US]
    assert len(set(both.values())) == 2
    assert await limits(connection) == {"chatgpt GB": (9, None), "chatgpt US": (5, 10.0)}


async def test_lanes_that_are_there_use_up_no_ids(connection):
    """Ids index arrays: however often lanes are ensured, the next new one has the next number."""
    (first,) = (await lanes.ensure(connection, {US: of(5)})).values()
    for _ in range(3):
        await lanes.ensure(connection, {US: of(5)})
    both = await lanes.ensure(connection, {GB: of(9), US: of(5)})
    assert both == {US: first, GB: first + 1}


@pytest.mark.parametrize("rate", ["0.5/h", "1/s", "1.5/s", "40/s", "9999999/s"])
async def test_a_new_lane_with_a_rate_has_a_full_bucket(connection, rate):
    """Nothing started in it yet, whenever the server did. Ensured again it keeps what is left."""
    made = await lanes.ensure(connection, {US: of(5, rate), GB: of(5)})
    assert await buckets(connection) == {made[US]: pytest.approx(capacity(per_second(rate)))}
    age = await factories.scalar(connection, AGE)
    assert 0 <= age < 10
    await connection.execute("UPDATE lane_pace SET tokens = 0.25")
    await lanes.ensure(connection, {US: of(5, rate)})
    assert await buckets(connection) == {made[US]: 0.25}


async def test_two_processes_make_a_lane_once(connection, connect, meeting):
    """The second waits for the first and gets the same id."""
    one, other = await connect(), await connect()
    async with one.transaction():
        first = await lanes.ensure(one, {US: of(5)})
        second = await meeting.begin(other, lanes.ensure(other, {US: of(6)}))
        assert not second.done()
    assert await second == first


async def test_two_processes_fill_the_bucket_of_a_new_lane_once(connection, connect, meeting):
    """The one that came second made nothing."""
    one, other = await connect(), await connect()
    async with one.transaction():
        await lanes.ensure(one, {US: of(5, "10/s")})
        second = await meeting.begin(other, lanes.ensure(other, {US: of(6, "90/s")}))
    assert await buckets(connection) == {(await second)[US]: 7.5}


async def test_lanes_are_listed_with_their_load(connection):
    """Every lane by surface and country, with its children over all keys, none where none is."""
    owner = await factories.key(connection)
    us = await factories.lane(connection, concurrency=4)
    await factories.lane(connection, "GB", concurrency=4)
    await factories.parent(connection, owner, [us] * 3)
    await fan_out(connection)
    held = await factories.claim(connection, slots=2)
    await factories.settle(connection, factories.retried(held[0], 60))
    busy = FREE._replace(queued=1, processing=1, retrying=1)
    assert [row._replace(id=0) for row in await lanes.all_lanes(connection)] == [
        FREE._replace(country="GB"),
        busy,
    ]


async def test_the_newest_registration_wins(connection):
    """What a worker publishes replaces what was there, also the limits of the surface's lanes."""
    for surface in ("chatgpt", "claude"):
        for country in ("US", "GB"):
            await factories.lane(connection, country, surface=surface, concurrency=1, rate="1/s")
    await surfaces.register(connection, [CHATGPT])
    assert await surfaces.all_surfaces(connection) == [CHATGPT]
    assert await limits(connection) == {
        "chatgpt GB": (3, 0.5),
        "chatgpt US": (7, 10.0),
        "claude GB": (1, 1.0),
        "claude US": (1, 1.0),
    }
    newer = msgspec.structs.replace(CHATGPT, concurrency=8, rate=None, regions={}, attempts=2)
    claude = msgspec.structs.replace(CHATGPT, name="claude", regions={"US": of(2)})
    await surfaces.register(connection, [newer, claude])
    assert await surfaces.all_surfaces(connection) == [newer, claude]
    assert await limits(connection) == {
        "chatgpt GB": (8, None),
        "chatgpt US": (8, None),
        "claude GB": (7, 10.0),
        "claude US": (2, None),
    }


async def test_a_new_lane_has_the_limits_that_are_registered_now(connection):
    """Whatever its maker read a moment ago, which counts only where nothing is registered."""
    read = {name: msgspec.structs.replace(CHATGPT, concurrency=1) for name in ("chatgpt", "claude")}
    await surfaces.register(connection, [CHATGPT])
    await surfaces.ensure_lanes(connection, [US, GB, Place("claude", "US")], read)
    assert await limits(connection) == {
        "chatgpt GB": (3, 0.5),
        "chatgpt US": (7, 10.0),
        "claude US": (1, 10.0),
    }


async def test_who_submits_by_an_older_catalogue_makes_lanes_as_registered_now(
    connection, new_pool
):
    """What an API process read before a worker started does not outlive it in a new lane."""
    await surfaces.register(connection, [CHATGPT])
    book = LaneBook(await new_pool())
    ((lane,),) = await book.of([factories.plan()], {"chatgpt": OLDER})
    assert lane == (await the(connection)).id
    assert await limits(connection) == {"chatgpt US": (7, 10.0)}


async def test_an_order_to_a_new_lane_waits_for_a_registration_and_stops_no_claim(
    connection, connect, meeting
):
    """Whoever makes a lane for an order holds nothing while it waits."""
    await surfaces.register(connection, [OLDER])
    one, other = await connect(), await connect()
    async with one.transaction():
        await surfaces.register(one, [CHATGPT])
        second = await meeting.begin(other, operating.pause(other, "chatgpt", "US"))
        assert not second.done()
        await connection.execute("SET lock_timeout = '5s'")
        assert await factories.claim(connection) == []
    paused = await second
    assert paused == await the(connection)
    assert paused.paused_at
    assert (paused.concurrency, paused.rate) == (7, 10.0)


async def test_a_new_lane_waits_for_a_registration_under_way(connection, connect, meeting):
    """It has the limits of the newer one."""
    await surfaces.register(connection, [OLDER])
    one, other = await connect(), await connect()
    async with one.transaction():
        await surfaces.register(one, [CHATGPT])
        making = surfaces.ensure_lanes(other, [US], {"chatgpt": OLDER})
        second = await meeting.begin(other, making)
        assert not second.done()
    await second
    assert await limits(connection) == {"chatgpt US": (7, 10.0)}


async def test_a_registration_waits_for_a_new_lane(connection, connect, meeting):
    """It configures the lane that was being made when it began."""
    await surfaces.register(connection, [OLDER])
    one, other = await connect(), await connect()

    async def register() -> None:
        async with other.transaction():
            await surfaces.register(other, [CHATGPT])

    async with one.transaction():
        await surfaces.ensure_lanes(one, [US], {"chatgpt": OLDER})
        second = await meeting.begin(other, register())
        assert not second.done()
    await second
    assert await limits(connection) == {"chatgpt US": (7, 10.0)}


@pytest.mark.parametrize(
    ("adaptive", "concurrency", "left", "allowed"),
    [(5, 8, 5, 5), (5, 5, None, 5), (5, 3, None, 3), (5, 100, 5, 5), (None, 3, None, 3)],
)
async def test_what_an_upstream_bears_is_forgotten_where_it_is_no_limit(
    connection, adaptive, concurrency, left, allowed
):
    """A new configuration at or below the adaptive limit takes its place; above, it stays."""
    await factories.lane(connection, concurrency=10)
    await connection.execute("UPDATE lane SET adaptive = %s", [adaptive])
    await lanes.configure(connection, "chatgpt", of(concurrency), {})
    row = await the(connection)
    assert (row.concurrency, row.adaptive, row.allowed) == (concurrency, left, allowed)


async def test_the_same_configuration_again_writes_nothing(connection):
    """Workers that start do not write the lanes of what they serve again."""
    await factories.lane(connection, concurrency=7, rate="10/s")
    before = await factories.scalar(connection, "SELECT xmin::text FROM lane")
    await lanes.configure(connection, "chatgpt", of(7, "600/min"), {"GB": of(3)})
    assert await factories.scalar(connection, "SELECT xmin::text FROM lane") == before


async def test_a_lane_is_paused_and_resumed(connection):
    """Each twice is as once; the first pause is the one that is dated."""
    await factories.lane(connection)
    first = await lanes.pause(connection, US, paused=True)
    again = await lanes.pause(connection, US, paused=True)
    assert first
    assert first.paused_at
    assert again == first == await the(connection)
    for _ in range(2):
        resumed = await lanes.pause(connection, US, paused=False)
        assert resumed == first._replace(paused_at=None) == await the(connection)


async def test_who_resumes_a_lane_says_that_it_works(connection):
    """Its breaker closes, and what its upstream said about when to come again is forgotten."""
    await factories.lane(connection, concurrency=4)
    await connection.execute(STOPPED)
    stopped = await the(connection)
    assert stopped.breaker == "open"
    assert None not in {stopped.paused_at, stopped.not_before, stopped.open_until}
    resumed = await lanes.pause(connection, US, paused=False)
    assert resumed == FREE._replace(id=stopped.id)
    assert await factories.scalar(connection, "SELECT failures FROM lane") == 0


async def test_a_pause_says_nothing_of_what_else_stops_a_lane(connection):
    """Its breaker, its failures and its upstream's word stay."""
    await factories.lane(connection)
    await connection.execute(STOPPED)
    before = await the(connection)
    await lanes.pause(connection, US, paused=True)
    assert await the(connection) == before
    assert await factories.scalar(connection, "SELECT failures FROM lane") == 12


async def test_a_limit_holds_until_it_is_taken_away(connection):
    """Below the configured concurrency it is what is allowed; above, it changes nothing."""
    await factories.lane(connection, concurrency=10)
    for limited, allowed in ((3, 3), (1, 1), (50, 10), (None, 10)):
        row = await lanes.limit(connection, US, limited)
        assert row == await the(connection)
        assert (row.limited, row.allowed) == (limited, allowed)
    await connection.execute("UPDATE lane SET adaptive = 2")
    row = await lanes.limit(connection, US, 5)
    assert row.allowed == 2


async def test_a_configuration_leaves_an_operators_word_alone(connection):
    """Workers that start again resume nothing and lift no limit."""
    await factories.lane(connection)
    await lanes.limit(connection, US, 3)
    paused = await lanes.pause(connection, US, paused=True)
    await surfaces.register(connection, [CHATGPT])
    row = await the(connection)
    assert (row.concurrency, row.limited, row.allowed) == (7, 3, 3)
    assert row.paused_at == paused.paused_at


async def test_a_lane_that_is_not_there_is_none(connection):
    """Nothing is made and nobody is told."""
    assert await lanes.pause(connection, US, paused=True) is None
    assert await lanes.pause(connection, US, paused=False) is None
    assert await lanes.limit(connection, US, 3) is None
    assert await lanes.all_lanes(connection) == []


async def test_what_an_operator_frees_is_looked_for_at_once(connection, connect):
    """Dispatchers and runners are told of a lane that is resumed or limited anew."""
    await factories.lane(connection)
    listener = await connect()
    channels = {notify.ADMITTED, notify.QUEUED}
    for channel in sorted(channels):
        await listener.execute(f"LISTEN {channel}")
    for change in (
        lanes.pause(connection, US, paused=False),
        lanes.limit(connection, US, 3),
        lanes.limit(connection, US, None),
    ):
        await change
        told = [note.channel async for note in listener.notifies(timeout=10, stop_after=2)]
        assert set(told) == channels


STOPS: dict[str, tuple[str, float]] = {
    "paused_at = now()": ("US", 3600.0),
    "open_until = now() + interval '50 seconds'": ("US", 50.0),
    "not_before = now() + interval '40 seconds'": ("US", 40.0),
    "not_before = now() + interval '40 seconds', open_until = now() + interval '9 s'": ("US", 40.0),
    "open_until = now() - interval '1 second', not_before = now() - interval '1 s'": ("", 0.0),
}


@pytest.mark.parametrize("change", STOPS)
async def test_a_lane_in_which_nothing_starts_is_cut_off(connection, change):
    """For as long as its breaker is open or its upstream asked for; of a pause an hour is said."""
    country, seconds = STOPS[change]
    await factories.lane(connection)
    await factories.lane(connection, "GB")
    await connection.execute(f"UPDATE lane SET {change} WHERE country = 'US'")
    async with connection.transaction():
        found = await lanes.cut_off(connection)
    assert set(found) == ({Place("chatgpt", country)} if country else set())
    assert all(seconds - 10 < left <= seconds for left in found.values())


async def test_operators_at_one_lane_take_turns(connection, connect, meeting):
    """The second waits for the first; both are in force."""
    await factories.lane(connection, concurrency=10)
    one, other = await connect(), await connect()
    async with one.transaction():
        await lanes.pause(one, US, paused=True)
        second = await meeting.begin(other, lanes.limit(other, US, 2))
        assert not second.done()
    row = await second
    assert row.paused_at
    assert row.allowed == 2
