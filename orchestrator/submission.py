"""Submission: from a plan to a parent in its key's admission queue, or straight to work."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec
from psycopg_pool import AsyncConnectionPool

from admission.budget import Short
from admission.deciding import Ask, Blocked, Decision, Item, Overpriced, Repeated, Stored
from admission.demand import Demand
from admission.gate import Gate
from admission.keys import Key
from admission.pace import Pace
from admission.refusals import Refusal
from orchestrator.books import LaneBook
from orchestrator.domain import ids, plan
from orchestrator.domain.plan import Plan
from orchestrator.domain.states import ParentState
from orchestrator.store.parents import Caller, Earlier, NewParent
from orchestrator.store.record import Record
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


class Withheld(NamedTuple):
    """Nothing was stored of what was to be stored whole: the submission at this place is at fault.

    Its idempotency key stands for another request, or it may cost more than it allows.
    """

    place: int
    why: Conflict | Overpriced


Outcome = Accepted | Replayed | Conflict | Overpriced | Short | Refusal


class Outcomes(NamedTuple):
    """What became of each submission; or why of what was to be stored whole there is `none`.

    `reserved` places are left of the reservation drawn on; None when the key has no such live one.
    """

    each: Sequence[Outcome]
    reserved: int | None = None
    none: Withheld | Short | Refusal | None = None


class Submitter:
    """Takes plans in. `run` must be running; many callers share a transaction."""

    def __init__(self, pool: AsyncConnectionPool, *, pace: Pace | None = None) -> None:
        self._lanes = LaneBook(pool)
        self._gate: Gate[NewParent, Earlier] = Gate(pool, Record(), pace=pace or Pace())

    async def submit(
        self, key: Key, asked: Submission, surfaces: dict[str, SurfaceDescriptor]
    ) -> Outcome:
        """Store the plan as a parent of this key if there is room, once per idempotency key.

        `surfaces` are those registered, by name; each surface of the plan must be among them.
        """
        (outcome,) = (await self.submit_all(key, [asked], surfaces)).each
        return outcome

    async def submit_all(
        self,
        key: Key,
        asked: Sequence[Submission],
        surfaces: dict[str, SurfaceDescriptor],
        *,
        whole: bool = False,
        roomy: bool = False,
        reservation: UUID | None = None,
    ) -> Outcomes:
        """Store at least one submission in one transaction, each as `submit` does.

        `whole`: all that are new, or none. `roomy`: none where not all find room that would be
        stored. They draw on the reservation before the queue's room.
        """
        entries = await self._entries(key, asked, surfaces)
        items = [Item(_demand(entry, reservation), entry) for entry in entries]
        answer = await self._gate.ask(Ask(items, whole, roomy))
        each = list(map(_outcome, answer.decisions, entries))
        match answer.none:
            case Blocked(place, by):
                why = Conflict(by.prior.id) if isinstance(by, Repeated) else by
                return Outcomes(each, answer.reserved, Withheld(place, why))
        return Outcomes(each, answer.reserved, answer.none)

    async def _entries(
        self, key: Key, asked: Sequence[Submission], surfaces: dict[str, SurfaceDescriptor]
    ) -> list[NewParent]:
        lanes = await self._lanes.of((one.plan for one in asked), surfaces)
        return [
            NewParent(
                id=one.parent,
                key_id=key.id,
                plan=_admitted(one.plan, key, surfaces),
                lanes=cells,
                idempotency_key=one.idempotency_key,
                fingerprint=None if one.idempotency_key is None else plan.fingerprint(one.plan),
                caller=one.caller,
            )
            for one, cells in zip(asked, lanes, strict=True)
        ]

    async def run(self) -> None:
        """Serve `submit` until closed."""
        await self._gate.run()

    def close(self) -> None:
        """Finish what was submitted so far, then let `run` return."""
        self._gate.close()


def _admitted(plan: Plan, key: Key, surfaces: dict[str, SurfaceDescriptor]) -> Plan:
    """The plan with what its cells cost now, and whether its key shares upstream calls."""
    costs = {name: cost for name in plan.surfaces if (cost := surfaces[name].credits)}
    if not costs and key.limits.coalesce:
        return plan
    return msgspec.structs.replace(plan, costs=costs, coalesce=key.limits.coalesce)


def _demand(parent: NewParent, reservation: UUID | None) -> Demand:
    sync = parent.caller is not None
    return Demand(
        parent.key_id,
        places=int(not sync),
        callers=int(sync),
        idempotency_key=parent.idempotency_key,
        cells=parent.plan.total,
        credits=parent.plan.estimate,
        most_credits=parent.plan.max_credits,
        reservation=reservation,
    )


def _outcome(decision: Decision[Earlier], parent: NewParent) -> Outcome:
    match decision:
        case Stored():
            return Accepted(parent.id)
        case Repeated(before, waits) if before.fingerprint == parent.fingerprint:
            return Replayed(before.id, before.state, waits)
        case Repeated(before):
            return Conflict(before.id)
    return decision


def new(
    plan: Plan, *, idempotency_key: str | None = None, caller: Caller | None = None
) -> Submission:
    """A submission with an id of its own."""
    return Submission(ids.new(), plan, idempotency_key, caller)
