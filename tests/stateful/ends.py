"""How a parent ends by its cells, and a child that did not end by itself."""

from orchestrator.domain import rollup
from orchestrator.domain.states import ChildState, ParentState
from tests.stateful.records import ChildRow, ParentRow

AGED = """
UPDATE parent SET finished_at = now() - interval '8 days'
WHERE id = ANY(%(parents)s) AND finished_at IS NOT NULL
"""
WEEK_SECONDS = 7 * 86_400
"""How long what has ended is kept."""
OVERDUE = "DEADLINE_EXCEEDED"


def rolled(row: ParentRow) -> ParentState:
    """The end of a parent all of whose cells have ended."""
    ends = {"completed": row.completed, "failed": row.failed}
    ends |= {"canceled": row.canceled, "expired": row.expired}
    return rollup.end(**ends, finish=row.finish, cancel_asked=row.asked)


def stopped(child: ChildRow, end: str) -> ChildRow:
    """It ends as it was told to, and not by itself."""
    error = OVERDUE if end == "expired" else None
    return child._replace(state=ChildState(end), error=error, due=False)


def unstarted(child: ChildRow, end: str, *, asked: bool) -> ChildRow:
    """The row of a cell that ended before it started in this run."""
    fresh = ChildRow(child.key, child.lane, child.priority, stop=end, asked=asked)
    return stopped(fresh, end)
