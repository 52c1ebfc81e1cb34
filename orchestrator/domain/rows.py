"""What the store reads back: a parent, a child and its attempts, as frozen records.

The views of `orchestrator.domain.views` are made from these, so the wire needs no database.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from orchestrator.domain.envelope import Failure
from orchestrator.domain.plan import Plan
from orchestrator.domain.states import ChildState, ParentState


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One ended try of a child; `code` is its error's, None when it worked."""

    number: int
    status: str
    code: str | None = None
    response_code: int | None = None
    started_at: datetime
    ended_at: datetime | None = None


class ParentRow(NamedTuple):
    """A parent as stored. `done` counts every ended cell, of whatever end."""

    id: UUID
    key_id: int
    state: ParentState
    priority: int
    total: int
    done: int
    failed: int
    canceled: int
    expired: int
    run: int
    plan: Plan
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class ChildRow(NamedTuple):
    """A child as stored.

    `attempt` is the number of the last claim (0: never claimed). `capture` is the worker's JSON,
    untouched; lists of children leave it None.
    """

    parent_id: UUID
    ordinal: int
    state: ChildState
    attempt: int
    run_at: datetime | None
    started_at: datetime | None
    claimed_at: datetime | None
    finished_at: datetime | None
    error: Failure | None
    log: tuple[Attempt, ...]
    capture: msgspec.Raw | None
    response_code: int | None = None
