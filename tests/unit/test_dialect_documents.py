"""The documents of dialects, from rows alone."""

from typing import Any

import msgspec

from orchestrator.api.openapi import examples
from orchestrator.domain.dialects import asyncqueue, cloro
from orchestrator.domain.rows import ParentRow
from orchestrator.domain.states import ParentState


def ended(**plan: Any) -> ParentRow:
    """A parent that is over, of this kind of task."""
    row, _ = examples.completed()
    return row._replace(
        state=ParentState.COMPLETED,
        finished_at=row.started_at,
        plan=msgspec.structs.replace(row.plan, **plan),
    )


def test_what_ended_before_its_reply_was_queued_when_it_was_made():
    """A worker may be quicker than the reply of cloro; what is charged, reading tells."""
    made = cloro.created(ended(task_type="CHATGPT"))
    assert (made.task.status, made.task.latency_ms) == ("QUEUED", None)
    assert made.credits.credits_charged is None


def test_what_ended_before_its_reply_was_pending_when_it_was_made():
    """The same of AsyncQueue."""
    row = ended(queue="emails")
    assert asyncqueue.created(row).status == "pending"
    assert asyncqueue.task(row, None).status == "completed"
