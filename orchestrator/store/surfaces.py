"""Surfaces as workers registered them: what the API knows of adapters, which it may not import."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
from psycopg import AsyncConnection

from orchestrator.store import lanes
from orchestrator.store.lanes import Place
from orchestrator.surfaces import RegionLimits, SurfaceDescriptor

REGISTER = """
INSERT INTO surface (name, descriptor) VALUES (%(name)s, %(descriptor)s::json)
ON CONFLICT (name) DO UPDATE SET descriptor = excluded.descriptor, registered_at = now()
"""


async def register(connection: AsyncConnection, descriptors: Sequence[SurfaceDescriptor]) -> None:
    """Publish what a worker serves; the newest registration wins, also for its lanes' limits."""
    await lanes.hold(connection, [descriptor.name for descriptor in descriptors])
    for descriptor in sorted(descriptors, key=lambda descriptor: descriptor.name):
        text = msgspec.json.encode(descriptor).decode()
        await connection.execute(REGISTER, {"name": descriptor.name, "descriptor": text})
        limits = RegionLimits(
            concurrency=descriptor.concurrency, rate=descriptor.rate, learns=descriptor.learns
        )
        await lanes.configure(connection, descriptor.name, limits, descriptor.regions)


ALL = """
SELECT descriptor::text FROM surface ORDER BY name
"""

_decoder = msgspec.json.Decoder(SurfaceDescriptor)


async def all_surfaces(connection: AsyncConnection) -> list[SurfaceDescriptor]:
    """Every surface some worker has registered, by name."""
    cursor = await connection.execute(ALL)
    return [_decoder.decode(text) async for (text,) in cursor]


NEWEST = """
SELECT descriptor::text FROM surface WHERE name = ANY(%(names)s) ORDER BY name FOR SHARE
"""


async def ensure_lanes(
    connection: AsyncConnection,
    places: Collection[Place],
    read: Mapping[str, SurfaceDescriptor],
) -> dict[Place, int]:
    """The id of each lane; new ones get the limits that are registered now, else those of `read`.

    A registration of their surfaces has ended then, or begins after this transaction and finds the
    lanes: what was read a moment ago need not be right. The caller holds no lane yet.
    """
    found = await lanes.find(connection, places)
    new = [place for place in places if place not in found]
    if not new:
        return found
    known = {**read, **await _newest(connection, {place.surface for place in new})}
    limits = {place: known[place.surface].limits(place.country) for place in new}
    return found | await lanes.ensure(connection, limits)


async def _newest(
    connection: AsyncConnection, names: Iterable[str]
) -> dict[str, SurfaceDescriptor]:
    """These surfaces as they stay until the transaction ends."""
    cursor = await connection.execute(NEWEST, {"names": list(names)})
    newest = [_decoder.decode(text) async for (text,) in cursor]
    return {descriptor.name: descriptor for descriptor in newest}
