"""Parents, children, callers and breakers as rows: modelled or read, and what they add up to."""

import copy
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self
from uuid import UUID

from admission.limits import Limits
from admission.refusals import Taken
from orchestrator.domain.states import ChildState, ParentState
from orchestrator.store.children import Fence

Cell = tuple[UUID, int]
SYNC_FIRST = 100
"""What the children of a sync parent have on top of its priority."""


class ParentRow(NamedTuple):
    """A parent; one with a name (an idempotency key) has its payload, to know a replay by."""

    key: int
    lanes: tuple[int, ...]
    priority: int
    mode: str = "async"
    name: str | None = None
    payload: str | None = None
    state: ParentState = ParentState.QUEUED
    done: int = 0
    failed: int = 0
    run: int = 1

    @property
    def sync(self) -> bool:
        """True for one that is or was waited for from its first moment."""
        return self.mode != "async"


class ChildRow(NamedTuple):
    key: int
    lane: int
    priority: int
    state: ChildState = ChildState.QUEUED
    attempt: int = 0
    lost: int = 0
    claim: int | None = None
    node: int | None = None
    logged: int = 0
    capture: str | None = None
    error: str | None = None
    due: bool = False

    @property
    def sync(self) -> bool:
        return self.priority > SYNC_FIRST


class CallerRow(NamedTuple):
    """Somebody who waits, held by an API node."""

    key: int
    parent: UUID
    node: int


class Breaker(NamedTuple):
    """Failures in a row in a lane, and what becomes of its children."""

    failures: int = 0
    state: Literal["closed", "open", "half open"] = "closed"


class Lane(NamedTuple):
    """How many children may run in a lane, whatever their breaker says and by it."""

    limit: int
    breaker: Breaker = Breaker()

    @property
    def most(self) -> int:
        return {"closed": self.limit, "open": 0, "half open": min(1, self.limit)}[
            self.breaker.state
        ]

    @property
    def most_async(self) -> int:
        """A lane of some size keeps a place for who waits."""
        return min(self.most, self.limit - (self.limit >= 4))


@dataclass(kw_only=True)
class Rows:
    """All rows of a moment. A breaker that never heard of a failure has none."""

    parents: dict[UUID, ParentRow] = field(default_factory=dict)
    children: dict[Cell, ChildRow] = field(default_factory=dict)
    callers: dict[int, CallerRow] = field(default_factory=dict)
    breakers: dict[int, Breaker] = field(default_factory=dict)

    def copy(self) -> Self:
        twin = copy.copy(self)
        twin.parents, twin.children = dict(self.parents), dict(self.children)
        twin.callers, twin.breakers = dict(self.callers), dict(self.breakers)
        return twin

    def fences(self) -> list[Fence]:
        """What the owners of running children hold."""
        running = sorted(
            (cell, child.claim) for cell, child in self.children.items() if child.claim is not None
        )
        return [Fence(*cell, claim) for cell, claim in running]

    def queue(self, key: int) -> list[ParentRow]:
        return [p for p in self.parents.values() if p.key == key and p.state is ParentState.QUEUED]

    def depth(self, key: int) -> int:
        return len(self.queue(key))

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
