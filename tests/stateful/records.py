"""A parent, a child, a caller and a reservation as rows, as far as the model knows them."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Self
from uuid import UUID

from orchestrator.domain.states import ChildState, ParentState

Cell = tuple[UUID, int]
Event = tuple[UUID, int, int]
"""A parent, its run, and the ordinal of its cell that ended; 0: itself."""
SYNC_FIRST = 100
"""What the children of a sync parent have on top of its priority."""
NOTHING_THERE = '"surfacePresent": false'
"""How a capture says so."""


class ParentRow(NamedTuple):
    """A parent; one with a name (an idempotency key) has its payload, to know a replay by.

    `due`: its delay is over. `overdue`: its deadline passed. `asked`: a cancel of all of it was.
    It took `estimated` credits, of which it was `charged` some.
    """

    key: int
    lanes: tuple[int, ...]
    priority: int
    mode: str = "async"
    name: str | None = None
    payload: str | None = None
    group: str | None = None
    finish: int | None = None
    deadline: bool = False
    tells: int = 0
    state: ParentState = ParentState.QUEUED
    done: int = 0
    failed: int = 0
    canceled: int = 0
    expired: int = 0
    estimated: int = 0
    charged: int = 0
    run: int = 1
    todo: tuple[int, ...] | None = None
    stop: str | None = None
    asked: bool = False
    due: bool = False
    overdue: bool = False

    @property
    def sync(self) -> bool:
        """True for one that is or was waited for from its first moment."""
        return self.mode != "async"

    @property
    def completed(self) -> int:
        return self.done - self.failed - self.canceled - self.expired

    @property
    def held(self) -> int:
        """Credits it may still be charged."""
        return 0 if self.state.ended else self.estimated - self.charged

    @property
    def ordinals(self) -> Sequence[int]:
        """The cells of this run."""
        return range(1, len(self.lanes) + 1) if self.todo is None else self.todo

    @property
    def ahead(self) -> list[int]:
        """The lanes of the cells of this run."""
        return [self.lanes[ordinal - 1] for ordinal in self.ordinals]


class ChildRow(NamedTuple):
    """A child; `stop` is what it is to end as, `asked` whether somebody asked for its cancel.

    One that runs has a `claim`, by a `node`, of a moment (`claimed`).
    """

    key: int
    lane: int
    priority: int
    state: ChildState = ChildState.QUEUED
    attempt: int = 0
    lost: int = 0
    claim: int | None = None
    node: int | None = None
    claimed: datetime | None = None
    logged: int = 0
    capture: str | None = None
    error: str | None = None
    due: bool = False
    stop: str | None = None
    asked: bool = False
    charged: int = 0
    started: bool = False

    @property
    def shows(self) -> bool:
        """True once it brought home something that is there."""
        return self.capture is not None and NOTHING_THERE not in self.capture

    @property
    def sync(self) -> bool:
        return self.priority > SYNC_FIRST

    def released(self) -> Self:
        """It runs no more."""
        return self._replace(claim=None, node=None, claimed=None)


class CallerRow(NamedTuple):
    """Somebody who waits, held by an API node."""

    key: int
    parent: UUID
    node: int


class Reserved(NamedTuple):
    """Places held for a key, of a reservation that has not expired."""

    key: int
    places: int
