"""AsyncQueue's documents: a task is a parent of one cell, the call of its client's URL."""

from typing import Any, Literal, dataclass_transform
from uuid import UUID

import msgspec

from orchestrator.domain import ids, progress
from orchestrator.domain.rows import Attempt, ChildRow, ParentRow
from orchestrator.domain.states import ChildState
from orchestrator.domain.times import whole_seconds

PREFIX = "task_"
TaskStatus = Literal["pending", "active", "completed", "failed"]
STATUSES: tuple[TaskStatus, ...] = ("pending", "active", "completed", "failed")
_STATUSES: dict[str, TaskStatus] = {
    "queued": "pending",
    "processing": "active",
    "completed": "completed",
}


# Type checkers do not pass `frozen` and `kw_only` of a Struct on to its subclasses by themselves.
@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Plain(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen record whose fields are on the wire as they are here."""


class QueueTask(Plain):
    """A task as it is made and listed; `delay` in seconds."""

    id: str
    queue: str
    status: TaskStatus
    priority: int
    delay: float
    created_at: str


class QueueTaskAttempt(Plain):
    """A call that was made: whether its endpoint said 2xx, and what it said if anything."""

    number: int
    status: Literal["success", "failed"]
    response_code: int | None
    executed_at: str


class QueueTaskRead(QueueTask):
    """A task with what it sends and what became of it."""

    payload: Any
    attempts: tuple[QueueTaskAttempt, ...]
    completed_at: str | None


class QueuePagination(Plain):
    """Which part of a list this is; `total` is exact to 10,000."""

    total: int
    limit: int
    offset: int
    has_more: bool = msgspec.field(name="hasMore")


class QueueTasks(Plain):
    """A part of a list of tasks, newest first."""

    tasks: tuple[QueueTask, ...]
    pagination: QueuePagination


class QueueCall(Plain):
    """What is posted of a task; attempts count from 1."""

    task_id: str
    queue: str
    payload: Any
    attempt: int


def text(parent: UUID) -> str:
    """The id of the task that is this parent."""
    return PREFIX + ids.text(parent).removeprefix(ids.PREFIX)


def task_of(child: str) -> str:
    """The id of the task whose child has this public id."""
    return PREFIX + child.partition(".")[0].removeprefix(ids.PREFIX)


def read(task: str) -> UUID | None:
    """The parent a client names, or None when none can have this id."""
    if not task.startswith(PREFIX):
        return None
    found = ids.read(ids.PREFIX + task.removeprefix(PREFIX))
    return found.parent if isinstance(found, ids.ParentId) else None


def created(parent: ParentRow) -> QueueTask:
    """A task as it is made: it waits, whatever a quick worker has done with it meanwhile."""
    return msgspec.structs.replace(task(parent, None), status="pending")


def task(parent: ParentRow, child: ChildRow | None) -> QueueTask:
    """A task as it is listed; `child` is the row of its one cell, if there is one."""
    return QueueTask(**_fields(parent, progress.current(parent, child)))


def task_read(parent: ParentRow, child: ChildRow | None) -> QueueTaskRead:
    """A task as it is read by itself."""
    plan, child = parent.plan, progress.current(parent, child)
    ended_at = progress.ended_at(parent, child)
    return QueueTaskRead(
        **_fields(parent, child),
        payload=plan.options[plan.surfaces[0]].get("payload"),
        attempts=tuple(map(_attempt, _made(child))),
        completed_at=whole_seconds(ended_at) if ended_at else None,
    )


def _fields(parent: ParentRow, child: ChildRow | None) -> dict[str, Any]:
    delay = parent.plan.delay
    return {
        "id": text(parent.id),
        "queue": parent.plan.queue,
        "status": _STATUSES.get(progress.status(parent, child), "failed"),
        "priority": parent.priority,
        "delay": int(delay) if float(delay).is_integer() else delay,
        "created_at": whole_seconds(parent.created_at),
    }


def _made(child: ChildRow | None) -> list[Attempt]:
    """The calls that are over."""
    return [one for one in progress.attempts(child) if one.status != ChildState.PROCESSING]


def _attempt(attempt: Attempt) -> QueueTaskAttempt:
    return QueueTaskAttempt(
        number=attempt.number,
        status="success" if attempt.status == ChildState.COMPLETED else "failed",
        response_code=attempt.response_code,
        executed_at=whole_seconds(attempt.started_at),
    )
