"""Surfaces as workers registered them: what the API knows of adapters, which it may not import."""

from collections.abc import Sequence

import msgspec
from psycopg import AsyncConnection

from orchestrator.store import lanes
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
        limits = RegionLimits(concurrency=descriptor.concurrency, rate=descriptor.rate)
        await lanes.configure(connection, descriptor.name, limits, descriptor.regions)


ALL = """
SELECT descriptor::text FROM surface ORDER BY name
"""

_decoder = msgspec.json.Decoder(SurfaceDescriptor)


async def all_surfaces(connection: AsyncConnection) -> list[SurfaceDescriptor]:
    """Every surface some worker has registered, by name."""
    cursor = await connection.execute(ALL)
    return [_decoder.decode(text) async for (text,) in cursor]
