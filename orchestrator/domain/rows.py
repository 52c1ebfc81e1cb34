"""What the store reads back: a parent, a child, its attempts and a lane, as frozen records.

The views of `orchestrator.domain` are made from these, so the wire needs no database.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple
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
    """A parent as stored. `done` counts every ended cell, of whatever end.

    `todo` are the ordinals this run is for, None for all. `stop` is what the rest was told to end
    as. `lanes` has the lane of each cell in ordinal order. Credits are `estimated` and `charged`.
    """

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
    lanes: Sequence[int] = ()
    todo: Sequence[int] | None = None
    stop: str | None = None
    not_before: datetime | None = None
    deadline_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    estimated: int = 0
    charged: int = 0
    idempotency_key: str | None = None


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
    lane_id: int = 0
    sync: bool = False
    stop: str | None = None
    cancel_requested_at: datetime | None = None
    charged: int = 0


BreakerState = Literal["closed", "open", "half_open"]


class LaneRow(NamedTuple):
    """A lane and its load over all keys.

    `rate` is starts a second as configured, None without one; `limited` an operator's limit;
    `adaptive` what an upstream that throttled bears at the moment, None when it does not;
    `allowed` how many may run at once, all of these considered. `open_until` is when its breaker
    lets a probe through, `not_before` when the upstream said to come again; both None when past.
    """

    id: int
    surface: str
    country: str
    concurrency: int
    rate: float | None
    limited: int | None
    adaptive: int | None
    allowed: int
    queued: int
    processing: int
    retrying: int
    breaker: BreakerState
    open_until: datetime | None
    paused_at: datetime | None
    not_before: datetime | None
