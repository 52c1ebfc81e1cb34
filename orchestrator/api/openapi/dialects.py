"""The operations of cloro, AsyncQueue and Rodin, with their documents."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from orchestrator.api.codes import Code
from orchestrator.api.dialects.asyncqueue.requests import (
    LARGEST_LIMIT,
    LARGEST_OFFSET,
    QueueTaskRequest,
)
from orchestrator.api.dialects.cloro.account import CloroCreditsLeft
from orchestrator.api.dialects.cloro.batch import (
    CloroBatchAnswer,
    CloroMade,
    CloroNotMade,
    CloroSummary,
)
from orchestrator.api.dialects.cloro.errors import CloroError, CloroFault, CloroFaults
from orchestrator.api.dialects.cloro.monitor import CloroMonitored
from orchestrator.api.dialects.cloro.requests import CloroPayload, CloroTaskRequest
from orchestrator.api.openapi.examples import NOW, completed
from orchestrator.api.openapi.operation import JSON, KEYED, Answer, Operation
from orchestrator.api.openapi.parameter import Parameter
from orchestrator.domain import queues
from orchestrator.domain.dialects import asyncqueue, cloro
from orchestrator.domain.dialects.asyncqueue import (
    STATUSES,
    QueuePagination,
    QueueTask,
    QueueTaskRead,
    QueueTasks,
)
from orchestrator.domain.dialects.cloro import (
    CloroCreated,
    CloroFailed,
    CloroResult,
    CloroTaskRead,
)
from orchestrator.domain.dialects.rodin import RodinQueue
from orchestrator.domain.dialects.task_types import TASK_TYPES
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region
from orchestrator.domain.rows import ChildRow, ParentRow
from orchestrator.domain.times import rfc3339

RECORDS = (
    *(CloroCreated, CloroTaskRead, CloroResult, CloroFailed, CloroMonitored, CloroCreditsLeft),
    *(CloroBatchAnswer, CloroMade, CloroNotMade, CloroFaults),
    *(QueueTask, QueueTaskRead, QueueTasks, RodinQueue),
)
BODIES = (CloroTaskRequest, CloroPayload, QueueTaskRequest)
EITHER: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("CloroTaskRead", "response"): ("CloroResult", "CloroFailed"),
    ("CloroBatchAnswer", "results"): ("CloroMade", "CloroNotMade"),
}
"""Fields that hold one of several records, which nothing but their fields tells apart."""
_REFUSED = (
    *(Code.VALIDATION_FAILED, Code.PAYLOAD_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE),
    *(Code.INSUFFICIENT_CREDITS, Code.QUOTA_EXCEEDED),
)
_UUID = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
_PROVIDERS = [kind.lower() for kind in TASK_TYPES]

PARAMETERS = {
    "taskId": Parameter("path", "The id of a task.", {"type": "string", "pattern": _UUID}),
    "provider": Parameter(
        "path",
        "A kind of task in small letters; `-` may stand for `_`.",
        {"type": "string", "enum": _PROVIDERS},
    ),
    "model": Parameter("query", "Only of this kind of task.", {"enum": list(TASK_TYPES)}),
    "task": Parameter(
        "path", "The id of a task.", {"type": "string", "pattern": "^task_[0-9a-v]{26}$"}
    ),
    "queue": Parameter(
        "query", "Only tasks of this queue.", {"type": "string", "pattern": queues.NAME}
    ),
    "taskStatus": Parameter(
        "query", "Only tasks of this status.", {"enum": list(STATUSES)}, name="status"
    ),
    "taskLimit": Parameter(
        "query",
        "How many tasks; 20 when left out.",
        {"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT},
        name="limit",
    ),
    "offset": Parameter(
        "query",
        "How many of the newest to pass over.",
        {"type": "integer", "minimum": 0, "maximum": LARGEST_OFFSET},
    ),
    "taskKey": Parameter(
        "header",
        "The same task sent again under it is the same task.",
        {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
        name="Idempotency-Key",
    ),
}
_CLORO = (
    Operation(
        "createTask",
        "post",
        "/v1/async/task",
        "Make a task",
        "Tasks",
        {200: Answer("It is stored", {JSON: ("CloroCreated",)})},
        (*_REFUSED, Code.IDEMPOTENCY_CONFLICT, Code.QUEUE_CAPACITY_EXCEEDED, *KEYED),
        body="CloroTaskRequest",
        system="cloro",
    ),
    Operation(
        "createTasks",
        "post",
        "/v1/async/task/batch",
        "Make up to 500 tasks: room for all or none, then each by itself",
        "Tasks",
        {200: Answer("What became of each, in order", {JSON: ("CloroBatchAnswer",)})},
        (
            *(Code.VALIDATION_FAILED, Code.PAYLOAD_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE),
            *(Code.QUEUE_CAPACITY_EXCEEDED, *KEYED),
        ),
        body="CloroBatchRequest",
        system="cloro",
    ),
    Operation(
        "readTask",
        "get",
        "/v1/async/task/{taskId}",
        "Read a task",
        "Tasks",
        {200: Answer("The task, once it has ended with its response", {JSON: ("CloroTaskRead",)})},
        (Code.JOB_NOT_FOUND, *KEYED),
        parameters=("taskId",),
        system="cloro",
    ),
    Operation(
        "monitor",
        "post",
        "/v1/monitor/{provider}",
        "Ask one surface and wait for its answer",
        "Tasks",
        {
            200: Answer(
                "What was found",
                {JSON: ("CloroMonitored",)},
                headers=(
                    *("X-Concurrency-Limit", "X-Concurrency-Current", "X-Concurrency-Remaining"),
                ),
            )
        },
        (
            *(*_REFUSED, Code.NOT_FOUND, Code.CONCURRENCY_LIMIT_EXCEEDED),
            *(Code.SURFACE_UNAVAILABLE, Code.SURFACE_TIMEOUT, *KEYED),
        ),
        parameters=("provider",),
        body="CloroPayload",
        system="cloro",
    ),
    Operation(
        "readCountries",
        "get",
        "/v1/countries",
        "Where tasks are captured from",
        "Account",
        {200: Answer("Countries in upper case", {JSON: ("CloroCountries",)})},
        (Code.VALIDATION_FAILED, *KEYED),
        parameters=("model",),
        system="cloro",
    ),
    Operation(
        "readCredits",
        "get",
        "/v1/credits",
        "What may still be spent",
        "Account",
        {200: Answer("Credits that are free", {JSON: ("CloroCreditsLeft",)})},
        KEYED,
        system="cloro",
    ),
)
_ASYNCQUEUE = (
    Operation(
        "queueTask",
        "post",
        "/v1/tasks",
        "Have a URL called",
        "Tasks",
        {201: Answer("It is stored", {JSON: ("QueueTask",)}, sometimes=("Idempotent-Replayed",))},
        (*_REFUSED, Code.IDEMPOTENCY_CONFLICT, Code.QUEUE_CAPACITY_EXCEEDED, *KEYED),
        parameters=("taskKey",),
        body="QueueTaskRequest",
        system="AsyncQueue",
    ),
    Operation(
        "listTasks",
        "get",
        "/v1/tasks",
        "List tasks, newest first",
        "Tasks",
        {200: Answer("Some of them", {JSON: ("QueueTasks",)})},
        (Code.VALIDATION_FAILED, *KEYED),
        parameters=("queue", "taskStatus", "taskLimit", "offset"),
        system="AsyncQueue",
    ),
    Operation(
        "readQueueTask",
        "get",
        "/v1/tasks/{task}",
        "Read a task",
        "Tasks",
        {200: Answer("The task and its calls", {JSON: ("QueueTaskRead",)})},
        (Code.JOB_NOT_FOUND, *KEYED),
        parameters=("task",),
        system="AsyncQueue",
    ),
    Operation(
        "deleteTask",
        "delete",
        "/v1/tasks/{task}",
        "Delete a task that waits",
        "Tasks",
        {204: Answer("Nothing is left of it", {})},
        (Code.JOB_NOT_FOUND, Code.NOT_CANCELABLE, *KEYED),
        parameters=("task",),
        system="AsyncQueue",
    ),
)
_RODIN = (
    Operation(
        "checkQueues",
        "get",
        "/api/v2/queue_status_check",
        "How busy each surface is",
        "Headroom",
        {200: Answer("Every configured surface", {JSON: ("RodinStatus",)})},
        KEYED,
        system="Rodin",
    ),
)
DIALECTS = (*_CLORO, *_ASYNCQUEUE, *_RODIN)
_TASK = {
    "taskType": "CHATGPT",
    "payload": {"prompt": "best running shoes", "country": "GB"},
    "idempotencyKey": "spring-1",
    "webhook": {"url": "https://example.com/hooks/cloro"},
}
SUBMISSIONS: Mapping[str, Any] = {
    "CloroTaskRequest": _TASK,
    "CloroBatchRequest": [_TASK, {"taskType": "GOOGLE", "payload": {"query": "shoes"}}],
    "CloroPayload": {"prompt": "best running shoes", "country": "GB"},
    "QueueTaskRequest": {
        "queue": "emails",
        "webhook_url": "https://example.com/work",
        "payload": {"to": "ann@example.com"},
        "delay": 60,
    },
}


def either(reference: str, field: str, names: Sequence[str]) -> dict[str, Any]:
    """The schema of a field of `EITHER`."""
    one = {"anyOf": [{"$ref": reference.format(name=name)} for name in names]}
    return {"type": "array", "items": one} if field == "results" else one


def shapes(reference: str) -> dict[str, Any]:
    """The schemas of documents that are no records."""
    task, queue = (reference.format(name=name) for name in ("CloroTaskRequest", "RodinQueue"))
    return {
        "CloroBatchRequest": {
            "description": "The body of `POST /v1/async/task/batch`, bare.",
            "type": "array",
            "items": {"$ref": task},
            "minItems": 1,
            "maxItems": 500,
        },
        "CloroCountries": {
            "description": "The answer to `GET /v1/countries`, bare.",
            "type": "array",
            "items": {"type": "string", "pattern": "^[A-Z]{2}$"},
        },
        "RodinStatus": {
            "description": "The answer to `GET /api/v2/queue_status_check`, by surface.",
            "type": "object",
            "additionalProperties": {"$ref": queue},
        },
    }


def examples() -> dict[str, Any]:
    """An example of each document, by its name."""
    parent, child = _completed()
    created = cloro.created(parent)
    read = cloro.task_read(parent, child, None)
    error = CloroError(
        code="VALIDATION_ERROR",
        message="The request has 1 fault; `details` says where and what is allowed.",
        details=CloroFaults(errors=(CloroFault(field="priority", message="At least 1."),)),
        timestamp=rfc3339(NOW),
    )
    made = CloroMade(index=0, task=created.task, credits=created.credits)
    batch = CloroBatchAnswer(
        summary=CloroSummary(total=2, succeeded=1, failed=1),
        results=(made, CloroNotMade(index=1, error=error)),
    )
    task, called = _called()
    return {
        name: msgspec.to_builtins(document)
        for name, document in {
            "CloroCreated": created,
            "CloroTaskRead": read,
            "CloroBatchAnswer": batch,
            "CloroMonitored": CloroMonitored(result=read.response),
            "CloroCreditsLeft": CloroCreditsLeft(remaining=9_995),
            "CloroCountries": ["DE", "GB", "US"],
            "QueueTask": asyncqueue.task(task, None),
            "QueueTaskRead": asyncqueue.task_read(task, called),
            "QueueTasks": QueueTasks(
                tasks=(asyncqueue.task(task, None),),
                pagination=QueuePagination(total=1, limit=20, offset=0, has_more=False),
            ),
            "RodinStatus": {
                "chatgpt": RodinQueue(consumers=2, job_awaiting=0, job_running=3),
            },
        }.items()
    }


def _completed() -> tuple[ParentRow, ChildRow]:
    """A task of cloro's, and the child that has its capture."""
    parent, child = completed()
    plan = Plan(
        query="best running shoes",
        surfaces=("chatgpt",),
        regions=(Region(country="US"),),
        priority=1,
        costs={"chatgpt": 5},
        task_type="CHATGPT",
    )
    row = parent._replace(plan=plan, priority=1, total=1, idempotency_key="spring-1")
    return row, child._replace(charged=5)


def _called() -> tuple[ParentRow, ChildRow]:
    """A task of a queue, and the child that was called."""
    parent, child = completed()
    options = {"url": "https://example.com/work", "queue": "emails", "payload": {"to": "ann"}}
    plan = Plan(
        query="emails",
        surfaces=("queue_emails",),
        regions=(Region(country=queues.GLOBAL),),
        options={"queue_emails": options},
        queue="emails",
    )
    return parent._replace(plan=plan, total=1), child._replace(capture=None)
