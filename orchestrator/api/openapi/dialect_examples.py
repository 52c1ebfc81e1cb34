"""Examples of what cloro, AsyncQueue and Rodin are sent and answer."""

from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.api.dialects.cloro.account import CloroCreditsLeft
from orchestrator.api.dialects.cloro.batch import (
    CloroBatchAnswer,
    CloroMade,
    CloroNotMade,
    CloroSummary,
)
from orchestrator.api.dialects.cloro.errors import CloroError, CloroFault, CloroFaults
from orchestrator.api.dialects.cloro.monitor import CloroMonitored
from orchestrator.api.openapi.examples import NOW, completed
from orchestrator.domain import queues
from orchestrator.domain.dialects import asyncqueue, cloro
from orchestrator.domain.dialects.asyncqueue import QueuePagination, QueueTasks
from orchestrator.domain.dialects.rodin import RodinQueue
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region
from orchestrator.domain.rows import ChildRow, ParentRow
from orchestrator.domain.times import rfc3339

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
