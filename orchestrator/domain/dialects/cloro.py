"""cloro's documents: a task is a parent of one cell."""

from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from orchestrator.domain import cell_views, progress
from orchestrator.domain.cell_views import Serving
from orchestrator.domain.envelope import Source, Wire
from orchestrator.domain.rows import ChildRow, ParentRow
from orchestrator.domain.states import ChildStatus
from orchestrator.domain.times import rfc3339

TaskStatus = Literal["QUEUED", "PROCESSING", "COMPLETED", "FAILED"]
_STATUSES: dict[ChildStatus, TaskStatus] = {
    "queued": "QUEUED",
    "processing": "PROCESSING",
    "completed": "COMPLETED",
}
_STOPPED = {
    "canceled": ("CANCELED", "The task was canceled."),
    "expired": ("EXPIRED", "The deadline of the task passed before it was captured."),
}


class CloroTask(Wire):
    """A task; `latency_ms` runs from its first pick-up to its end."""

    id: str
    task_type: str
    status: TaskStatus
    priority: int
    created_at: str
    latency_ms: int | None
    idempotency_key: str | None


class CloroCredits(Wire):
    """What a task may cost, and what it did once it has ended."""

    credits_to_charge: int
    credits_charged: int | None


class CloroCreated(Wire, kw_only=True):
    """A task that was taken in."""

    success: Literal[True] = True
    task: CloroTask
    credits: CloroCredits


class CloroWebhook(Wire):
    """Where the end of a task is told, and whether it was."""

    url: str
    delivered_at: str | None
    delivered: bool


class CloroSource(Wire):
    """A page an answer rests on; positions count from 1."""

    position: int
    url: str
    label: str | None
    description: str | None


class CloroResult(Wire):
    """What was found; all of it is empty where the surface showed nothing."""

    text: str
    markdown: str
    sources: tuple[CloroSource, ...]
    model: str | None
    search_queries: tuple[str, ...]


class CloroFailure(Wire):
    """Why a task found nothing."""

    code: str
    message: str


class CloroFailed(Wire):
    """Instead of a result."""

    error: CloroFailure


class CloroTaskRead(Wire, kw_only=True):
    """A task as it is read; `response` is there once it has ended, `webhook` if it has one."""

    task: CloroTask
    credits: CloroCredits
    webhook: CloroWebhook | UnsetType = UNSET
    response: Any = UNSET  # `CloroResult` or `CloroFailed`


class Told(NamedTuple):
    """How far the delivery of a task's end is; None when it was not told yet."""

    delivered_at: datetime | None


def read(task: str) -> UUID | None:
    """The parent a client names, or None when none can have this id."""
    try:
        found = UUID(task)
    except ValueError:
        return None
    return found if str(found) == task.lower() else None


def created(parent: ParentRow) -> CloroCreated:
    """A task as it is made: it waits, whatever a quick worker has done with it meanwhile."""
    return CloroCreated(
        task=msgspec.structs.replace(_task(parent, None), status="QUEUED"),
        credits=CloroCredits(credits_to_charge=parent.plan.estimate, credits_charged=None),
    )


def task_read(
    parent: ParentRow, child: ChildRow | None, surface: Serving | None, told: Told | None = None
) -> CloroTaskRead:
    """A task as it is; `child` is the row of its one cell, if there is one."""
    webhook, child = parent.plan.webhook, progress.current(parent, child)
    delivered_at = told.delivered_at if told else None
    return CloroTaskRead(
        task=_task(parent, child),
        credits=_credits(parent, child),
        webhook=UNSET
        if webhook is None
        else CloroWebhook(
            url=webhook.url,
            delivered_at=rfc3339(delivered_at),
            delivered=delivered_at is not None,
        ),
        response=_response(parent, child, surface),
    )


def told(parent: ParentRow, child: ChildRow | None, surface: Serving | None) -> bytes:
    """The body that tells of a task that ended: as it is read, but for its webhook."""
    read = task_read(parent, child, surface)
    return _encoder.encode(msgspec.structs.replace(read, webhook=UNSET))


def result(parent: ParentRow, child: ChildRow, surface: Serving | None) -> CloroResult:
    """What a completed cell found."""
    (cell,) = parent.plan.cells()
    found = cell_views.envelope(parent, cell, child, surface)
    model = found.provenance.model
    return CloroResult(
        text=found.answer.text,
        markdown=found.answer.markdown,
        sources=tuple(map(_source, found.evidence.sources)),
        model=(model.observed_label or model.provider_id) if model else None,
        search_queries=found.evidence.fan_out.queries,
    )


_encoder = msgspec.json.Encoder()


def _task(parent: ParentRow, child: ChildRow | None) -> CloroTask:
    return CloroTask(
        id=str(parent.id),
        task_type=str(parent.plan.task_type),
        status=_status(parent, child),
        priority=parent.priority,
        created_at=rfc3339(parent.created_at),
        latency_ms=progress.latency_ms(child),
        idempotency_key=parent.idempotency_key,
    )


def _status(parent: ParentRow, child: ChildRow | None) -> TaskStatus:
    return _STATUSES.get(progress.status(parent, child), "FAILED")


def _credits(parent: ParentRow, child: ChildRow | None) -> CloroCredits:
    charged = child.charged if child else 0
    ended = _status(parent, child) in {"COMPLETED", "FAILED"}
    return CloroCredits(
        credits_to_charge=parent.plan.estimate, credits_charged=charged if ended else None
    )


def _response(
    parent: ParentRow, child: ChildRow | None, surface: Serving | None
) -> CloroResult | CloroFailed | UnsetType:
    status = progress.status(parent, child)
    if status == "completed" and child is not None:
        return result(parent, child, surface)
    if (stopped := _STOPPED.get(status)) is not None:
        return CloroFailed(error=CloroFailure(code=stopped[0], message=stopped[1]))
    failure = progress.error(parent, child)
    if status != "failed" or failure is None:
        return UNSET
    return CloroFailed(error=CloroFailure(code=failure.code, message=failure.message))


def _source(source: Source) -> CloroSource:
    return CloroSource(
        position=source.id, url=source.url, label=source.title, description=source.quote
    )
