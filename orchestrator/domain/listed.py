"""A parent as lists show it: told from its row and how many of its children run, without them."""

from orchestrator.domain import views
from orchestrator.domain.documents import Counts, ParentJob
from orchestrator.domain.rows import ParentRow
from orchestrator.domain.views import Queued


def job(parent: ParentRow, running: int) -> ParentJob:
    """The parent with as many children running; where it stands in its queue is not said."""
    return views.parent_job(parent, counts(parent, running), Queued())


def counts(parent: ParentRow, running: int) -> Counts:
    """How many of its cells are where."""
    waiting, left = parent.state.waiting, parent.total - parent.done
    return Counts(
        waiting=left if waiting else 0,
        queued=0 if waiting else left - running,
        processing=running,
        completed=parent.done - parent.failed - parent.canceled - parent.expired,
        failed=parent.failed,
        canceled=parent.canceled,
        expired=parent.expired,
    )
