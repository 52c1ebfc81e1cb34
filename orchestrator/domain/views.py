"""From stored rows to what a client reads of a parent: pure, so every state can be shown."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from orchestrator.domain import cell_views, ids, progress
from orchestrator.domain.documents import ChildSummary, Counts, Credits, JobRead, ParentJob
from orchestrator.domain.obstacles import Obstacles
from orchestrator.domain.rows import ChildRow, ParentRow
from orchestrator.domain.times import rfc3339


class Queued(NamedTuple):
    """Where a parent stands in its queue (from 1), and when it may leave, as far as is known."""

    position: int | None = None
    estimated: bool | None = None
    start_at: datetime | None = None


def job_read(
    parent: ParentRow,
    children: Iterable[ChildRow],
    *,
    queued: Queued = Queued(),  # noqa: B008 - it is frozen
    obstacles: Obstacles | None = None,
) -> JobRead:
    """The read of a parent; `children` are its rows, none while it waits for admission."""
    rows = progress.rows(parent, children)
    job = ids.text(parent.id)
    shown = tuple(
        cell_views.summary(parent, job, cell, rows.get(cell.ordinal), obstacles)
        for cell in parent.plan.cells()
    )
    return JobRead(job=parent_job(parent, _counts(parent, shown), queued), children=shown)


def parent_job(parent: ParentRow, counts: Counts, queued: Queued) -> ParentJob:
    """A parent as reads and lists show it."""
    plan = parent.plan
    return ParentJob(
        id=ids.text(parent.id),
        query=plan.query,
        status=parent.state.wire,
        run=parent.run,
        priority=parent.priority,
        surfaces=plan.surfaces,
        regions=plan.regions,
        group=plan.group,
        counts=counts,
        position=queued.position,
        position_estimated=queued.estimated,
        estimated_start_at=rfc3339(queued.start_at),
        requested_at=rfc3339(parent.created_at),
        started_at=rfc3339(parent.started_at),
        completed_at=rfc3339(parent.finished_at),
        cancel_requested_at=rfc3339(parent.cancel_requested_at),
        deadline_at=rfc3339(parent.deadline_at),
        metadata=plan.metadata,
        credits=Credits(estimated=parent.estimated, charged=parent.charged),
    )


def _counts(parent: ParentRow, shown: tuple[ChildSummary, ...]) -> Counts:
    counted = Counter[str](child.status for child in shown)
    if parent.state.waiting:
        counted["waiting"] = counted.pop("queued", 0)
    return Counts(**counted)
