"""From stored rows to the documents a client reads: pure, so every state can be shown in a test.

A parent still in the admission queue has no children yet, and one that ended there never got any:
their cells are read from the plan, in the parent's own state.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

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
from orchestrator.domain.plan import Cell
from orchestrator.domain.rows import ChildRow, ParentRow
from orchestrator.domain.states import ParentState
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


def job_read(parent: ParentRow, children: Iterable[ChildRow]) -> JobRead:
    """The read of a parent; `children` are its rows, none while it waits for admission."""
    rows = {child.ordinal: child for child in children}
    job = ids.text(parent.id)
    shown = tuple(
        _summary(parent, job, cell, rows.get(cell.ordinal)) for cell in parent.plan.cells()
    )
    return JobRead(job=_parent(parent, job, _counts(parent, shown)), children=shown)


def envelopes(
    parent: ParentRow,
    cells: Iterable[Cell],
    children: Iterable[ChildRow],
    surfaces: Mapping[str, Serving],
) -> Iterator[Envelope]:
    """The Envelopes of these cells, in their order; `children` are the rows there are for them."""
    rows = {child.ordinal: child for child in children}
    for cell in cells:
        yield envelope(parent, cell, rows.get(cell.ordinal), surfaces.get(cell.surface))


def envelope(
    parent: ParentRow, cell: Cell, child: ChildRow | None, surface: Serving | None
) -> Envelope:
    """The Envelope of one cell; `surface` is None when no worker ever registered it."""
    capture = _capture(cell, child, surface)
    return Envelope(
        job=_child(parent, cell, child, capture.warnings),
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


def _parent(parent: ParentRow, job: str, counts: Counts) -> ParentJob:
    plan = parent.plan
    return ParentJob(
        id=job,
        query=plan.query,
        status=parent.state.value,
        run=parent.run,
        priority=parent.priority,
        surfaces=plan.surfaces,
        regions=plan.regions,
        group=None,
        counts=counts,
        position=None,
        position_estimated=None,
        estimated_start_at=None,
        requested_at=rfc3339(parent.created_at),
        started_at=rfc3339(parent.started_at),
        completed_at=rfc3339(parent.finished_at),
        cancel_requested_at=None,
        deadline_at=None,
        metadata=plan.metadata,
        credits=Credits(),
    )


def _summary(parent: ParentRow, job: str, cell: Cell, child: ChildRow | None) -> ChildSummary:
    return ChildSummary(
        id=ids.child_text(job, cell.surface, cell.token),
        surface=cell.surface,
        region=cell.region.country,
        city=UNSET if cell.region.city is None else cell.region.city,
        language=UNSET if cell.region.language is None else cell.region.language,
        status=progress.status(parent, child),
        attempts=child.attempt if child else 0,
        waiting=progress.waiting(parent, child),
        error=child.error if child else None,
        completed_at=rfc3339(progress.ended_at(parent, child)),
    )


def _child(
    parent: ParentRow, cell: Cell, child: ChildRow | None, warnings: tuple[Warning, ...]
) -> ChildJob:
    summary = _summary(parent, ids.text(parent.id), cell, child)
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
        cancel_requested_at=None,
        credits=Credits(),
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
    if parent.state is ParentState.QUEUED:
        return Counts(waiting=parent.total)
    return Counts(**Counter[str](child.status for child in shown))
