"""What webhooks are told: the bodies of deliveries."""

from orchestrator.domain import deliveries
from orchestrator.domain.deliveries import Occasion
from orchestrator.domain.ids import EventId
from orchestrator.domain.rows import ChildRow
from orchestrator.domain.states import ParentState
from tests.contract.rows import (
    PARENT,
    SURFACES,
    absent,
    after,
    canceled,
    completed,
    expired,
    failed,
    parent,
)

ENDED = parent(ParentState.PARTIAL, failed=1)


def cell(child: ChildRow, run: int = 1) -> bytes:
    """The event of a child that ended in this run."""
    event = EventId(PARENT, child.ordinal, run)
    occasion = Occasion(event, str(child.state), after(3.25))
    surface = SURFACES["chatgpt"]
    return deliveries.child_body(occasion, ENDED, ENDED.plan.cell(child.ordinal), child, surface)


def whole(state: str, *counts: int, run: int = 1) -> bytes:
    """The event of a parent that ended so in this run."""
    return deliveries.parent_body(Occasion(EventId(PARENT, 0, run), state, after(4)), counts)


BODIES = {
    "told-child-completed": cell(completed(1)),
    "told-child-absent": cell(completed(1, absent())),
    "told-child-failed": cell(failed(2)),
    "told-child-canceled": cell(canceled(2), run=2),
    "told-child-expired": cell(expired(2)),
    "told-parent-completed": whole("completed", 2, 0, 0, 0, run=2),
    "told-parent-partial": whole("partial", 1, 1, 0, 0),
    "told-parent-canceled": whole("canceled", 0, 0, 2, 0),
}
