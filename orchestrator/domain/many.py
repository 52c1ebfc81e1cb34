"""The documents about many jobs at once: a list, a batch's jobs, a group, a cleared queue."""

from orchestrator.domain.documents import ParentJob
from orchestrator.domain.envelope import Wire
from orchestrator.domain.states import ParentStatus


class Jobs(Wire):
    """A page of parents, newest first.

    A page may be short, or empty, and not be the last: only where `next_cursor` is null is the
    end. Positions are not said in lists.
    """

    jobs: tuple[ParentJob, ...]
    next_cursor: str | None


class BatchJob(Wire):
    """A stored submission; `children` is null where the batch has more than 50,000 in all."""

    id: str
    status: ParentStatus
    children: tuple[str, ...] | None


class ParentsByStatus(Wire):
    """Parents of a group by status."""

    queued: int
    processing: int
    completed: int
    partial: int
    failed: int
    canceled: int
    expired: int


class CellsByStatus(Wire):
    """Cells of a group's parents by status; those of a waiting parent are queued."""

    queued: int
    processing: int
    completed: int
    failed: int
    canceled: int
    expired: int


class GroupView(Wire):
    """The answer to `GET /v1/groups/{group}`."""

    group: str
    parents: ParentsByStatus
    cells: CellsByStatus


class Matched(Wire):
    """What was asked of a group is stored; it is for so many parents."""

    group: str
    matched: int


class Cleared(Wire, kw_only=True):
    """The answer to `DELETE /v1/async/queue`: how many parents were canceled."""

    success: bool = True
    cleared: int
