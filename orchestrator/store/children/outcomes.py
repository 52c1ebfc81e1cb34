"""How a claimed child came home: what a worker tells of it."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from orchestrator.domain.envelope import Failure


class Fence(NamedTuple):
    """What a claim gave out; an outcome with another token is stale and changes nothing."""

    parent_id: UUID
    ordinal: int
    claim: int


class Completed(NamedTuple):
    """The capture came home; `capture` is its JSON, `charge` the credits it costs.

    `shared`: it came of the call of another cell, from which nothing more is learned of a lane.
    """

    fence: Fence
    capture: str
    response_code: int | None = None
    charge: int = 0
    shared: bool = False


class Retry(NamedTuple):
    """A transient failure; the child is staged again after the delay, on the database's clock.

    `not_before_seconds`: so long its upstream asked that nothing start in the lane. `shared` as in
    `Completed`.
    """

    fence: Fence
    failure: Failure
    delay_seconds: float
    response_code: int | None = None
    not_before_seconds: float = 0.0
    shared: bool = False


class Failed(NamedTuple):
    """The end of a child that did not work; `not_before_seconds` and `shared` as in `Retry`."""

    fence: Fence
    failure: Failure
    response_code: int | None = None
    not_before_seconds: float = 0.0
    shared: bool = False


class GivenBack(NamedTuple):
    """Interrupted: it ends as it was told to, or is queued again with the attempt not counted."""

    fence: Fence


Outcome = Completed | Retry | Failed | GivenBack


class Settled(NamedTuple):
    """What a settle changed: children whose fence held, and the parents that ended by it."""

    children: int
    parents: Sequence[UUID]
