import msgspec
import pytest

from orchestrator.fanout import fan_out
from orchestrator.store import lanes, surfaces
from orchestrator.store.lanes import LaneRow, Place
from orchestrator.surfaces import SurfaceDescriptor
from tests import factories

pytestmark = pytest.mark.anyio

CHATGPT = SurfaceDescriptor(
    name="chatgpt",
    adapter="simulator",
    method="simulator",
    options_schema={"type": "object"},
    countries=("US", "GB"),
    concurrency=7,
    regions={"GB": 3},
)


async def limits(connection) -> dict[str, int]:
    """The concurrency of each lane, by surface and country."""
    rows = await lanes.all_lanes(connection)
    return {f"{row.surface} {row.country}": row.concurrency for row in rows}


async def test_a_lane_keeps_its_id_and_its_limit(connection):
    """Ensuring a lane again finds it as it is; only new ones are made."""
    us, gb = Place("chatgpt", "US"), Place("chatgpt", "GB")
    first = await lanes.ensure(connection, {us: 5})
    both = await lanes.ensure(connection, {gb: 9, us: 99})
    assert both[us] == first[us]
    assert len(set(both.values())) == 2
    assert await limits(connection) == {"chatgpt GB": 9, "chatgpt US": 5}


async def test_two_processes_make_a_lane_once(connection, connect, meeting):
    """The second waits for the first and gets the same id."""
    place = Place("chatgpt", "US")
    one, other = await connect(), await connect()
    async with one.transaction():
        first = await lanes.ensure(one, {place: 5})
        second = await meeting.begin(other, lanes.ensure(other, {place: 6}))
        assert not second.done()
    assert await second == first


async def test_lanes_are_listed_with_their_load(connection):
    """Every lane by surface and country, with its children over all keys, none where none is."""
    owner = await factories.key(connection)
    us = await factories.lane(connection, concurrency=4)
    await factories.lane(connection, "GB", concurrency=4)
    await factories.parent(connection, owner, [us] * 3)
    await fan_out(connection)
    held = await factories.claim(connection, slots=2)
    await factories.settle(connection, factories.retried(held[0], 60))
    assert [row[1:] for row in await lanes.all_lanes(connection)] == [
        LaneRow(0, "chatgpt", "GB", 4, 0, 0, 0)[1:],
        LaneRow(0, "chatgpt", "US", 4, 1, 1, 1)[1:],
    ]


async def test_the_newest_registration_wins(connection):
    """What a worker publishes replaces what was there, also the limits of the surface's lanes."""
    for surface in ("chatgpt", "claude"):
        for country in ("US", "GB"):
            await factories.lane(connection, country, surface=surface, concurrency=1)
    await surfaces.register(connection, [CHATGPT])
    assert await surfaces.all_surfaces(connection) == [CHATGPT]
    assert await limits(connection) == {
        "chatgpt GB": 3,
        "chatgpt US": 7,
        "claude GB": 1,
        "claude US": 1,
    }
    newer = msgspec.structs.replace(CHATGPT, concurrency=8, regions={}, attempts=2)
    claude = msgspec.structs.replace(CHATGPT, name="claude", regions={"US": 2})
    await surfaces.register(connection, [newer, claude])
    assert await surfaces.all_surfaces(connection) == [newer, claude]
    assert await limits(connection) == {
        "chatgpt GB": 8,
        "chatgpt US": 8,
        "claude GB": 7,
        "claude US": 2,
    }
