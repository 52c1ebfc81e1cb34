"""Submission: from a plan to a parent in its key's admission queue, or straight to work."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from admission.demand import Demand
from admission.gate import Gate, Known, Repeated, Stored
from admission.keys import Key
from admission.pace import Pace
from admission.refusals import Refusal
from orchestrator.domain import ids, plan
from orchestrator.domain.plan import Plan
from orchestrator.domain.states import ParentState
from orchestrator.store import lanes, parents
from orchestrator.store.lanes import Place
from orchestrator.store.parents import Caller, Earlier, NewParent
from orchestrator.surfaces import SurfaceDescriptor


class Submission(NamedTuple):
    """What a client asks for: a plan, perhaps under an idempotency key, perhaps waiting.

    `parent` is the id it gets when it is admitted. With a caller it is sync.
    """

    parent: UUID
    plan: Plan
    idempotency_key: str | None = None
    caller: Caller | None = None


class Accepted(NamedTuple):
    """The parent is stored, durably; the caller, if any, waits for it."""

    parent: UUID


class Replayed(NamedTuple):
    """It was submitted before: that parent, as it was a moment ago. `waits`: the caller does."""

    parent: UUID
    state: ParentState
    waits: bool


class Conflict(NamedTuple):
    """The idempotency key stands for another request, whose parent this is."""

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


class _Parents:
    """The gate's record: parents, known again by their idempotency key."""

    async def recall(
        self, connection: AsyncConnection, entries: Sequence[NewParent]
    ) -> Sequence[Known[Earlier] | None]:
        names = [(entry.key_id, entry.idempotency_key or "") for entry in entries]
        found = await parents.earlier(connection, names)
        return [
            Known(before, open=_same(before, entry) and not before.state.ended) if before else None
            for entry, before in zip(entries, found, strict=True)
        ]

    async def store(self, connection: AsyncConnection, entries: Sequence[NewParent]) -> None:
        await parents.insert(connection, entries)

    async def join(
        self, connection: AsyncConnection, waiting: Sequence[tuple[NewParent, Earlier]]
    ) -> None:
        await parents.attend(connection, [(entry, before.id) for entry, before in waiting])


def _same(before: Earlier, entry: NewParent) -> bool:
    return before.fingerprint == entry.fingerprint


class Submitter:
    """Takes plans in. `run` must be running; many callers share a transaction."""

    def __init__(self, pool: AsyncConnectionPool, *, pace: Pace | None = None) -> None:
        self._lanes = LaneBook(pool)
        self._gate: Gate[NewParent, Earlier] = Gate(pool, _Parents(), pace=pace or Pace())

    async def submit(
        self, key: Key, asked: Submission, surfaces: dict[str, SurfaceDescriptor]
    ) -> Accepted | Replayed | Conflict | Refusal:
        """Store the plan as a parent of this key if there is room, once per idempotency key.

        `surfaces` are those registered, by name; each surface of the plan must be among them.
        """
        named = asked.idempotency_key is not None
        parent = NewParent(
            id=asked.parent,
            key_id=key.id,
            plan=asked.plan,
            lanes=await self._lanes.of(asked.plan, surfaces),
            idempotency_key=asked.idempotency_key,
            fingerprint=plan.fingerprint(asked.plan) if named else None,
            caller=asked.caller,
        )
        sync = asked.caller is not None
        demand = Demand(key.id, int(not sync), int(sync), asked.idempotency_key)
        match await self._gate.admit(demand, parent):
            case Stored():
                return Accepted(parent.id)
            case Repeated(before, waits) if _same(before, parent):
                return Replayed(before.id, before.state, waits)
            case Repeated(before):
                return Conflict(before.id)
            case Refusal() as refusal:
                return refusal

    async def run(self) -> None:
        """Serve `submit` until closed."""
        await self._gate.run()

    def close(self) -> None:
        """Finish what was submitted so far, then let `run` return."""
        self._gate.close()


def new(
    plan: Plan, *, idempotency_key: str | None = None, caller: Caller | None = None
) -> Submission:
    """A submission with an id of its own."""
    return Submission(ids.new(), plan, idempotency_key, caller)
