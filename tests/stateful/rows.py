"""All rows of a moment, modelled or read, and what they add up to."""

import copy
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

from admission.budget import Unaffordable
from admission.limits import Limits
from admission.refusals import Taken
from orchestrator.domain.states import ChildState, ParentState
from orchestrator.domain.webhooks import TELLS_CELLS, TELLS_PARENT
from orchestrator.store.children import Fence
from tests.stateful.lanes import Lane
from tests.stateful.prices import COSTS
from tests.stateful.records import CallerRow, Cell, ChildRow, Event, ParentRow, Reserved


@dataclass(kw_only=True)
class Rows:
    """All rows of a moment; `served` are the surfaces that live workers serve.

    By key, `free` are the credits it may still spend, None for no end of them; and what it was
    `charged`, also by parents that are gone.
    """

    parents: dict[UUID, ParentRow] = field(default_factory=dict)
    children: dict[Cell, ChildRow] = field(default_factory=dict)
    callers: dict[int, CallerRow] = field(default_factory=dict)
    lanes: dict[int, Lane] = field(default_factory=dict)
    reservations: dict[UUID, Reserved] = field(default_factory=dict)
    told: dict[Event, str] = field(default_factory=dict)
    free: dict[int, int | None] = field(default_factory=dict)
    charged: dict[int, int] = field(default_factory=dict)
    served: frozenset[str] = frozenset()

    def copy(self) -> Self:
        twin = copy.copy(self)
        twin.parents, twin.children = dict(self.parents), dict(self.children)
        twin.callers, twin.lanes = dict(self.callers), dict(self.lanes)
        twin.reservations, twin.told = dict(self.reservations), dict(self.told)
        twin.free, twin.charged = dict(self.free), dict(self.charged)
        return twin

    def tell(self, parent: UUID, ordinal: int, end: str) -> None:
        """It ended so, once in this run; its webhook is told if it wants to know of such."""
        row = self.parents[parent]
        if row.tells & (TELLS_CELLS if ordinal else TELLS_PARENT):
            event = (parent, row.run, ordinal)
            assert event not in self.told
            self.told[event] = str(end)

    def cost(self, parent: UUID, ordinals: Iterable[int]) -> int:
        """What these cells of a parent cost if each shows something; nothing, once it is gone."""
        row = self.parents.get(parent)
        lanes = [row.lanes[ordinal - 1] for ordinal in ordinals] if row else []
        return sum(COSTS[self.lanes[lane].surface] for lane in lanes)

    def short(self, key: int, wanted: int) -> Unaffordable | None:
        """What who would take so many credits is told, if there are too few."""
        free = self.free[key]
        return None if free is None or wanted <= free else Unaffordable(wanted, free)

    def affords(self, key: int, cost: int) -> float:
        """How many there are credits for, each at this cost."""
        free = self.free[key]
        return math.inf if free is None or not cost else free // cost

    def take(self, key: int, taken: int) -> None:
        """So many credits are free no more; less than none: they are again."""
        if (free := self.free[key]) is not None:
            self.free[key] = free - taken

    def worth(self, key: int) -> int:
        """All credits a key has, holds and was charged."""
        held = sum(row.held for row in self.parents.values() if row.key == key)
        return (self.free[key] or 0) + held + self.charged[key]

    def fences(self) -> list[Fence]:
        """What the owners of running children hold."""
        running = sorted(
            (cell, child.claim) for cell, child in self.children.items() if child.claim is not None
        )
        return [Fence(*cell, claim) for cell, claim in running]

    def waiting(self, key: int) -> list[ParentRow]:
        """Those that hold a place of the queue."""
        return [p for p in self.parents.values() if p.key == key and p.state.waiting]

    def queue(self, key: int) -> list[ParentRow]:
        """Those of them that may leave it now."""
        return [parent for parent in self.waiting(key) if parent.state is ParentState.QUEUED]

    def held(self, key: int) -> Counter[int]:
        """How many of those each lane that is shut keeps."""
        return Counter(
            lane for parent in self.queue(key) for lane in {*parent.ahead} if self.lanes[lane].shut
        )

    def stuck(self, key: int) -> bool:
        """Whether most of its queue is kept by lanes that stay shut for hours."""
        held = self.held(key)
        kept = sum(not held.keys().isdisjoint(parent.ahead) for parent in self.queue(key))
        worst = [n for n in held if held[n] == max(held.values())]
        return 2 * kept > len(self.waiting(key)) and all(self.lanes[n].barred for n in worst)

    def reserved(self, key: int) -> int:
        return sum(held.places for held in self.reservations.values() if held.key == key)

    def depth(self, key: int) -> int:
        return len(self.waiting(key)) + self.reserved(key)

    def detached(self, key: int) -> int:
        return sum(
            parent.key == key and parent.mode == "detached" and not parent.state.ended
            for parent in self.parents.values()
        )

    def unfinished(self, key: int) -> int:
        """Sync parents of a key that have not ended, waited for or not."""
        return sum(
            parent.key == key and parent.sync and not parent.state.ended
            for parent in self.parents.values()
        )

    def sync_running(self, key: int, limit: int) -> int:
        callers = sum(caller.key == key for caller in self.callers.values())
        return callers + max(0, self.detached(key) - limit)

    def taken(self, key: int, limits: Limits) -> Taken:
        running = self.sync_running(key, limits.sync_limit)
        return Taken(limits.sync_limit, running, self.depth(key))

    def waited_for(self, parent: UUID) -> bool:
        return any(caller.parent == parent for caller in self.callers.values())

    def named(self, key: int, name: str | None) -> UUID | None:
        """The parent an idempotency key stands for."""
        return next(
            (
                parent
                for parent, row in self.parents.items()
                if name is not None and (row.key, row.name) == (key, name)
            ),
            None,
        )

    def by_lane(self, *states: ChildState, sync: bool | None = None) -> Counter[int]:
        return Counter(child.lane for child in self._children(*states, sync=sync))

    def by_key(self, *states: ChildState, sync: bool | None = None) -> Counter[int]:
        return Counter(child.key for child in self._children(*states, sync=sync))

    def _children(self, *states: ChildState, sync: bool | None) -> list[ChildRow]:
        return [
            child
            for child in self.children.values()
            if child.state in states and sync in {None, child.sync}
        ]

    def cells(self, *states: ChildState) -> list[Cell]:
        return sorted(cell for cell, child in self.children.items() if child.state in states)

    def live(self) -> list[UUID]:
        return [parent for parent, row in self.parents.items() if not row.state.ended]

    def states(self, parent: UUID) -> list[str]:
        """The state of each cell, whether it has a row or not; a waiting one's is `queued`."""
        row = self.parents[parent]
        known = range(1, len(row.lanes) + 1)
        return [self._state(parent, row, ordinal) for ordinal in known]

    def _state(self, parent: UUID, row: ParentRow, ordinal: int) -> str:
        if row.state.waiting and ordinal in row.ordinals:
            return "queued"
        child = self.children.get((parent, ordinal))
        return child.state if child else (row.stop or "unknown")
