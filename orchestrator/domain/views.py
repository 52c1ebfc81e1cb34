"""From stored rows to the documents a client reads: pure, so every state can be shown in a test.

A parent still in the admission queue has no children yet, and one that ended there never got any:
their cells are read from the plan, in the parent's own state.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec
from msgspec import UNSET

from orchestrator.domain import ids, progress
from orchestrator.domain.documents import (
    ChildJob,
    ChildSummary,
    Counts,
    Credits,
    Envelope,
    FlatResult,
    JobRead,
    ParentJob,
)
from orchestrator.domain.envelope import (
    Answer,
    Capture,
    Evidence,
    Method,
    Provenance,
    Seen,
    Warning,  # noqa: A004 - the contract's word
)
from orchestrator.domain.obstacles import Obstacles
from orchestrator.domain.plan import Cell
from orchestrator.domain.rows import ChildRow, ParentRow
from orchestrator.domain.times import rfc3339

_captures = msgspec.json.Decoder(Capture)


class Serving(Protocol):
    """What a view needs to know of a surface."""

    @property
    def adapter(self) -> str:
        """The adapter's name."""

    @property
    def method(self) -> Method:
        """How the adapter captures."""


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
        _summary(parent, job, cell, rows.get(cell.ordinal), obstacles)
        for cell in parent.plan.cells()
    )
    return JobRead(job=parent_job(parent, _counts(parent, shown), queued), children=shown)


def envelopes(
    parent: ParentRow,
    cells: Iterable[Cell],
    children: Iterable[ChildRow],
    surfaces: Mapping[str, Serving],
    obstacles: Obstacles | None = None,
) -> Iterator[Envelope]:
    """The Envelopes of these cells, in their order; `children` are the rows there are for them."""
    rows = progress.rows(parent, children)
    for cell in cells:
        row, surface = rows.get(cell.ordinal), surfaces.get(cell.surface)
        yield _envelope(parent, cell, row, surface, obstacles)


def envelope(
    parent: ParentRow,
    cell: Cell,
    child: ChildRow | None,
    surface: Serving | None,
    obstacles: Obstacles | None = None,
) -> Envelope:
    """The Envelope of one cell; `surface` is None when no worker ever registered it."""
    row = progress.rows(parent, (child,) if child else ()).get(cell.ordinal)
    return _envelope(parent, cell, row, surface, obstacles)


def _envelope(
    parent: ParentRow,
    cell: Cell,
    child: ChildRow | None,
    surface: Serving | None,
    obstacles: Obstacles | None,
) -> Envelope:
    capture = _capture(cell, child, surface)
    return Envelope(
        job=_child(parent, cell, child, capture.warnings, obstacles),
        provenance=capture.provenance,
        answer=capture.answer,
        evidence=capture.evidence,
        raw=capture.raw,
    )


def flat(envelope: Envelope) -> FlatResult:
    """The text of an Envelope and where it came from, nothing else."""
    return FlatResult(
        surface=envelope.job.surface,
        region=envelope.job.region,
        status=envelope.job.status,
        text=envelope.answer.text,
        markdown=envelope.answer.markdown,
        sources=envelope.evidence.sources,
    )


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


def _summary(
    parent: ParentRow,
    job: str,
    cell: Cell,
    child: ChildRow | None,
    obstacles: Obstacles | None,
) -> ChildSummary:
    return ChildSummary(
        id=ids.child_text(job, cell.surface, cell.token),
        surface=cell.surface,
        region=cell.region.country,
        city=UNSET if cell.region.city is None else cell.region.city,
        language=UNSET if cell.region.language is None else cell.region.language,
        status=progress.status(parent, child),
        attempts=child.attempt if child else 0,
        waiting=progress.waiting(parent, child, obstacles),
        error=progress.error(parent, child),
        completed_at=rfc3339(progress.ended_at(parent, child)),
    )


def _child(
    parent: ParentRow,
    cell: Cell,
    child: ChildRow | None,
    warnings: tuple[Warning, ...],
    obstacles: Obstacles | None,
) -> ChildJob:
    summary = _summary(parent, ids.text(parent.id), cell, child, obstacles)
    return ChildJob(
        id=summary.id,
        query=parent.plan.query,
        surface=summary.surface,
        region=summary.region,
        city=summary.city,
        language=summary.language,
        status=summary.status,
        run=parent.run,
        attempts=summary.attempts,
        attempt_log=progress.tries(child),
        waiting=summary.waiting,
        warnings=warnings,
        error=summary.error,
        requested_at=rfc3339(parent.created_at),
        started_at=rfc3339(child.started_at) if child else None,
        completed_at=summary.completed_at,
        latency_ms=progress.latency_ms(child),
        cancel_requested_at=rfc3339(progress.cancel_requested_at(parent, child)),
        credits=Credits(
            estimated=parent.plan.costs.get(cell.surface, 0), charged=child.charged if child else 0
        ),
        artifacts=(),
    )


def _capture(cell: Cell, child: ChildRow | None, surface: Serving | None) -> Capture:
    """What was found, or the empty capture of a cell that found nothing (yet)."""
    if child is not None and child.capture is not None:
        return _captures.decode(child.capture)
    provenance = Provenance(
        adapter=surface.adapter if surface else None,
        method=surface.method if surface else None,
        region=Seen(requested=cell.region.country),
    )
    return Capture(answer=Answer(), evidence=Evidence(), provenance=provenance)


def _counts(parent: ParentRow, shown: tuple[ChildSummary, ...]) -> Counts:
    counted = Counter[str](child.status for child in shown)
    if parent.state.waiting:
        counted["waiting"] = counted.pop("queued", 0)
    return Counts(**counted)
