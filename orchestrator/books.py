"""Small ids that never change, remembered: most submissions need no new lane."""

from collections.abc import Iterable, Sequence

from psycopg_pool import AsyncConnectionPool

from orchestrator.domain.plan import Plan
from orchestrator.store import surfaces as registered
from orchestrator.store.lanes import Place
from orchestrator.surfaces import SurfaceDescriptor


class LaneBook:
    """The ids of lanes."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._known: dict[Place, int] = {}

    async def of(
        self, plans: Iterable[Plan], surfaces: dict[str, SurfaceDescriptor]
    ) -> list[Sequence[int]]:
        """For each plan the lane of each cell in ordinal order; lanes not seen yet are made.

        Plans of equal matrices share theirs.
        """
        matrices = [(plan.surfaces, plan.regions) for plan in plans]
        places = {
            matrix: [Place(surface, at.country) for surface in matrix[0] for at in matrix[1]]
            for matrix in dict.fromkeys(matrices)
        }
        await self._learn({place for cells in places.values() for place in cells}, surfaces)
        known = {matrix: [self._known[at] for at in cells] for matrix, cells in places.items()}
        return [known[matrix] for matrix in matrices]

    async def _learn(self, places: set[Place], surfaces: dict[str, SurfaceDescriptor]) -> None:
        missing = places - self._known.keys()
        if missing:
            async with self._pool.connection() as connection, connection.transaction():
                self._known.update(await registered.ensure_lanes(connection, missing, surfaces))
