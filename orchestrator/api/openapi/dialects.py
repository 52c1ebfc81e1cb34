"""The operations of cloro, AsyncQueue and Rodin, with their documents."""

from collections.abc import Mapping, Sequence
from typing import Any

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
)
from orchestrator.api.dialects.cloro.errors import CloroFaults
from orchestrator.api.dialects.cloro.monitor import CloroMonitored
from orchestrator.api.dialects.cloro.requests import CloroPayload, CloroTaskRequest
from orchestrator.api.openapi.operation import JSON, KEYED, Answer, Operation
from orchestrator.api.openapi.parameter import Parameter
from orchestrator.domain import queues
from orchestrator.domain.dialects.asyncqueue import (
    STATUSES,
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
_LEFT = ("X-Reservation-Remaining",)
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
        {200: Answer("It is stored", {JSON: ("CloroCreated",)}, sometimes=_LEFT)},
        (*_REFUSED, Code.IDEMPOTENCY_CONFLICT, Code.QUEUE_CAPACITY_EXCEEDED, *KEYED),
        parameters=("X-Reservation",),
        body="CloroTaskRequest",
        system="cloro",
    ),
    Operation(
        "createTasks",
        "post",
        "/v1/async/task/batch",
        "Make up to 500 tasks: room for all or none, then each by itself",
        "Tasks",
        {
            200: Answer(
                "What became of each, in order", {JSON: ("CloroBatchAnswer",)}, sometimes=_LEFT
            )
        },
        (
            *(Code.VALIDATION_FAILED, Code.PAYLOAD_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE),
            *(Code.QUEUE_CAPACITY_EXCEEDED, *KEYED),
        ),
        parameters=("X-Reservation",),
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
        {
            201: Answer(
                "It is stored",
                {JSON: ("QueueTask",)},
                sometimes=("Idempotent-Replayed", *_LEFT),
            )
        },
        (*_REFUSED, Code.IDEMPOTENCY_CONFLICT, Code.QUEUE_CAPACITY_EXCEEDED, *KEYED),
        parameters=("taskKey", "X-Reservation"),
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
