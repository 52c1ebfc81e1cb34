"""Deliveries as clients read them, and the body of each: pure, made from rows.

`cell_views` makes the `job` part of a child; what was captured is passed on as it was stored.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

from orchestrator.domain import cell_views, ids
from orchestrator.domain.cell_views import Serving
from orchestrator.domain.documents import ChildJob, Counts
from orchestrator.domain.envelope import Warning, Wire  # noqa: A004 - the contract's word
from orchestrator.domain.ids import EventId
from orchestrator.domain.plan import Cell
from orchestrator.domain.rows import ChildRow, ParentRow
from orchestrator.domain.times import rfc3339

DeliveryStatus = Literal["pending", "delivered", "dead"]


class Delivery(Wire):
    """A delivery as a client reads it; `next_attempt_at` is null while it is attempted, and after.

    `last_code` is the status of the last reply, null where there was none.
    """

    id: str
    event_id: str
    type: str
    job_id: str
    url: str
    status: DeliveryStatus
    attempts: int
    next_attempt_at: str | None
    last_code: int | None
    created_at: str
    delivered_at: str | None


class Deliveries(Wire):
    """A page of deliveries, newest first; `next_cursor` is null on the last."""

    deliveries: tuple[Delivery, ...]
    next_cursor: str | None


class Replayed(Wire):
    """So many deliveries are sent again."""

    matched: int


def kind(ordinal: int, state: str) -> str:
    """The type of an event: `job.completed`, or of a parent (ordinal 0) `parent.partial`."""
    return f"{'job' if ordinal else 'parent'}.{state}"


class ToldChild(Wire):
    """What an event says of the child that ended, besides its Envelope."""

    id: str
    surface: str
    status: str
    run: int


class ToldParent(Wire):
    """What an event says of the parent that ended."""

    id: str
    status: str
    run: int
    counts: Counts


class ToldEnvelope(Wire):
    """The Envelope of a child, without `raw`; its parts are passed on as they were stored."""

    job: ChildJob
    provenance: Any
    answer: Any
    evidence: Any


class Body(Wire):
    """What is sent of an event."""

    id: str
    type: str
    created_at: str
    job: ToldChild | ToldParent
    result: ToldEnvelope | None


class _Stored(Wire):
    """A capture, of which only what a reader was warned of is looked at."""

    answer: msgspec.Raw
    evidence: msgspec.Raw
    provenance: msgspec.Raw
    warnings: tuple[Warning, ...] = ()


_stored = msgspec.json.Decoder(_Stored)
_encoder = msgspec.json.Encoder()


class Occasion(NamedTuple):
    """An event: which, how it ended, and when."""

    event: EventId
    state: str
    created_at: datetime


def parent_body(occasion: Occasion, counts: Sequence[int]) -> bytes:
    """The body that tells of a parent; `counts`: completed, failed, canceled, expired."""
    completed, failed, canceled, expired = counts
    job = ToldParent(
        id=ids.text(occasion.event.parent),
        status=occasion.state,
        run=occasion.event.run,
        counts=Counts(completed=completed, failed=failed, canceled=canceled, expired=expired),
    )
    return _body(occasion, job, None)


def child_body(
    occasion: Occasion, parent: ParentRow, cell: Cell, child: ChildRow, surface: Serving | None
) -> bytes:
    """The body that tells of a child, as it was when it ended in that run of its parent."""
    parent = parent._replace(run=occasion.event.run)
    result = _result(parent, cell, child, surface)
    job = ToldChild(
        id=result.job.id, surface=cell.surface, status=occasion.state, run=occasion.event.run
    )
    return _body(occasion, job, result)


def _body(occasion: Occasion, job: ToldChild | ToldParent, result: ToldEnvelope | None) -> bytes:
    event, state, created_at = occasion
    body = Body(
        id=ids.event_text(event),
        type=kind(event.ordinal, state),
        created_at=rfc3339(created_at),
        job=job,
        result=result,
    )
    return _encoder.encode(body)


def _result(
    parent: ParentRow, cell: Cell, child: ChildRow, surface: Serving | None
) -> ToldEnvelope:
    if child.capture is None:
        empty = cell_views.empty(cell, surface, ended=True)
        job = cell_views.child_job(parent, cell, child, ())
        return ToldEnvelope(
            job=job, provenance=empty.provenance, answer=empty.answer, evidence=empty.evidence
        )
    stored = _stored.decode(child.capture)
    return ToldEnvelope(
        job=cell_views.child_job(parent, cell, child, stored.warnings),
        provenance=stored.provenance,
        answer=stored.answer,
        evidence=stored.evidence,
    )
