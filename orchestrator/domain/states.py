"""The states of a parent and of a child, as the database keeps them and as the wire says them."""

from enum import StrEnum
from typing import Literal, cast

ParentStatus = Literal[
    "queued", "processing", "completed", "partial", "failed", "canceled", "expired"
]
ChildStatus = Literal["queued", "processing", "completed", "failed", "canceled", "expired"]


class ParentState(StrEnum):
    """The states of a parent: (delayed →) queued → processing → one of the ends."""

    DELAYED = "delayed"
    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def ended(self) -> bool:
        """True when nothing will change any more, short of a retry."""
        return self is not ParentState.PROCESSING and not self.waiting

    @property
    def waiting(self) -> bool:
        """True while it holds a place in the admission queue."""
        return self in {ParentState.QUEUED, ParentState.DELAYED}

    @property
    def wire(self) -> ParentStatus:
        """The word clients see: a delayed parent is `queued` to them."""
        return cast("ParentStatus", "queued" if self.waiting else self.value)


class ChildState(StrEnum):
    """The states of a child: queued → processing → (retrying → queued …) one of the ends."""

    QUEUED = "queued"
    PROCESSING = "processing"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def ended(self) -> bool:
        """True when the cell has its one recorded outcome of this run."""
        return self not in {ChildState.QUEUED, ChildState.PROCESSING, ChildState.RETRYING}

    @property
    def wire(self) -> ChildStatus:
        """The word clients see: a child between attempts is `queued` to them."""
        return cast("ChildStatus", "queued" if self is ChildState.RETRYING else self.value)
