"""Submission: from a plan to a parent in its key's admission queue."""

from typing import NamedTuple
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from admission.demand import Demand
from admission.gate import Gate
from admission.keys import Key
from admission.refusals import Refusal
from orchestrator.domain import ids
from orchestrator.domain.plan import Plan
from orchestrator.store import lanes, parents
from orchestrator.store.lanes import Place
from orchestrator.store.parents import NewParent
from orchestrator.surfaces import SurfaceDescriptor


class Accepted(NamedTuple):
    """The parent is stored, durably."""

    parent: UUID


class LaneBook:
    """The ids of lanes, remembered: they never change, and most submissions need no new lane."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._known: dict[Place, int] = {}

    async def of(self, plan: Plan, surfaces: dict[str, SurfaceDescriptor]) -> list[int]:
        """The lane of each cell in ordinal order; lanes not seen yet are made."""
        places = [Place(s, region.country) for s in plan.surfaces for region in plan.regions]
        missing = {
            place: limit(surfaces[place.surface], place.country)
            for place in places
            if place not in self._known
        }
        if missing:
            async with self._pool.connection() as connection, connection.transaction():
                self._known.update(await lanes.ensure(connection, missing))
        return [self._known[place] for place in places]


def limit(surface: SurfaceDescriptor, country: str) -> int:
    """How many children of this lane may run at once, over all workers."""
    return surface.regions.get(country, surface.concurrency)


class Submitter:
    """Takes plans in. `run` must be running; many callers share a transaction."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._lanes = LaneBook(pool)
        self._gate: Gate[NewParent] = Gate(pool, parents.insert)

    async def submit(
        self, key: Key, plan: Plan, surfaces: dict[str, SurfaceDescriptor]
    ) -> Accepted | Refusal:
        """Store the plan as a parent of this key if its queue has room.

        `surfaces` are those registered, by name; each surface of the plan must be among them.
        """
        lane_ids = await self._lanes.of(plan, surfaces)
        parent = NewParent(id=ids.new(), key_id=key.id, plan=plan, lanes=lane_ids)
        decision = await self._gate.admit(Demand(key.id), parent)
        return decision if isinstance(decision, Refusal) else Accepted(parent.id)

    async def run(self) -> None:
        """Serve `submit` until closed."""
        await self._gate.run()

    def close(self) -> None:
        """Finish what was submitted so far, then let `run` return."""
        self._gate.close()
