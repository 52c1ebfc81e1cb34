"""The states of a parent and of a child, as the database keeps them and as the wire says them."""

from enum import StrEnum


class ParentState(StrEnum):
    """The states of a parent: queued → processing → one of the ends."""

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
        return self not in {ParentState.QUEUED, ParentState.PROCESSING}


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
    def wire(self) -> str:
        """The word clients see: a child between attempts is `queued` to them."""
        return "queued" if self is ChildState.RETRYING else self.value
