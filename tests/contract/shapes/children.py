"""The Envelope of a child in each of its states."""

from orchestrator.domain import cell_views
from orchestrator.domain.documents import Envelope
from orchestrator.domain.rows import ChildRow, ParentRow
from orchestrator.domain.states import ChildState, ParentState
from tests.contract.rows import (
    SURFACES,
    absent,
    after,
    canceled,
    child,
    completed,
    expired,
    failed,
    parent,
    retrying,
)
from tests.contract.shapes.parents import (
    CANCELED,
    DELAYED,
    FULL,
    PARTIAL,
    RETRIED,
    WAITING,
    WORKING,
    obstacles,
)

EXPIRED = parent(ParentState.EXPIRED, expired=2)


def envelope(of: ParentRow, row: ChildRow | None, ordinal: int = 1) -> Envelope:
    """The Envelope of a cell, whose lane is full."""
    cell = of.plan.cell(ordinal)
    return cell_views.envelope(of, cell, row, SURFACES[cell.surface], obstacles({ordinal: FULL}))


SHAPES = {
    "child-waiting": envelope(WAITING, None, 2),
    "child-delayed": envelope(DELAYED, None),
    "child-queued": envelope(WORKING, child(1, ChildState.QUEUED)),
    "child-processing": envelope(WORKING, child(1, ChildState.PROCESSING)),
    "child-processing-cancel-requested": envelope(
        WORKING, child(1, ChildState.PROCESSING, cancel_requested_at=after(3))
    ),
    "child-between-attempts": envelope(WORKING, retrying(1)),
    "child-completed": envelope(PARTIAL, completed(1)),
    "child-completed-absent": envelope(PARTIAL, completed(1, absent())),
    "child-failed": envelope(PARTIAL, failed(2), 2),
    "child-canceled": envelope(CANCELED, canceled(1)),
    "child-expired": envelope(EXPIRED, expired(1)),
    "child-expired-in-queue": envelope(EXPIRED, None),
    "child-retried": envelope(RETRIED, failed(2), 2),
    "child-flat": cell_views.flat(envelope(PARTIAL, completed(1))),
}
