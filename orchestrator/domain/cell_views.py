"""From stored rows to what a client reads of a cell: its line in the parent's read, its Envelope.

A cell of a parent that waits, or that ended waiting, has no row: it is read from the plan, in its
parent's own state.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import msgspec
from msgspec import UNSET

from orchestrator.domain import ids, progress
from orchestrator.domain.documents import ChildJob, ChildSummary, Credits, Envelope, FlatResult
from orchestrator.domain.envelope import (
    Answer,
    Capture,
    Evidence,
    Method,
    Provenance,
    Seen,
    Warning,  # noqa: A004 - the contract's word
    pending,
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
    return _envelope(parent, cell, progress.current(parent, child), surface, obstacles)


def _envelope(
    parent: ParentRow,
    cell: Cell,
    child: ChildRow | None,
    surface: Serving | None,
    obstacles: Obstacles | None,
) -> Envelope:
    capture = _capture(parent, cell, child, surface)
    return Envelope(
        job=child_job(parent, cell, child, capture.warnings, obstacles),
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


def summary(
    parent: ParentRow,
    job: str,
    cell: Cell,
    child: ChildRow | None,
    obstacles: Obstacles | None,
) -> ChildSummary:
    """The line of a cell in the read of its parent, whose public id is `job`."""
    return ChildSummary(
        id=ids.child_text(job, cell.surface, cell.token),
        surface=cell.surface,
        region=cell.region.country,
        city=UNSET if cell.region.city is None else cell.region.city,
        language=UNSET if cell.region.language is None else cell.region.language,
        status=progress.status(parent, child),
        attempts=child.attempt if child else 0,
        waiting=progress.waiting(parent, cell.ordinal, child, obstacles),
        error=progress.error(parent, child),
        completed_at=rfc3339(progress.ended_at(parent, child)),
    )


def child_job(
    parent: ParentRow,
    cell: Cell,
    child: ChildRow | None,
    warnings: tuple[Warning, ...],
    obstacles: Obstacles | None = None,
) -> ChildJob:
    """The `job` part of a cell's Envelope."""
    told = summary(parent, ids.text(parent.id), cell, child, obstacles)
    return ChildJob(
        id=told.id,
        query=parent.plan.query,
        surface=told.surface,
        region=told.region,
        city=told.city,
        language=told.language,
        status=told.status,
        run=parent.run,
        attempts=told.attempts,
        attempt_log=progress.tries(child),
        waiting=told.waiting,
        warnings=warnings,
        error=told.error,
        requested_at=rfc3339(parent.created_at),
        started_at=rfc3339(child.started_at) if child else None,
        completed_at=told.completed_at,
        latency_ms=progress.latency_ms(child),
        cancel_requested_at=rfc3339(progress.cancel_requested_at(parent, child)),
        credits=Credits(
            estimated=parent.plan.costs.get(cell.surface, 0), charged=child.charged if child else 0
        ),
        artifacts=(),
    )


def _capture(
    parent: ParentRow, cell: Cell, child: ChildRow | None, surface: Serving | None
) -> Capture:
    """What was found, if anything was."""
    if child is not None and child.capture is not None:
        return _captures.decode(child.capture)
    return empty(cell, surface, ended=(child or parent).state.ended)


def empty(cell: Cell, surface: Serving | None, *, ended: bool) -> Capture:
    """The capture of a cell that found nothing, or nothing yet."""
    adapter, method = (surface.adapter, surface.method) if surface else (None, None)
    region = Seen(requested=cell.region.country)
    provenance = (
        Provenance(adapter=adapter, method=method, region=region)
        if ended
        else pending(adapter, method, region)
    )
    return Capture(answer=Answer(), evidence=Evidence(), provenance=provenance)
