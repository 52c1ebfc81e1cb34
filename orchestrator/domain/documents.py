"""The documents a client reads about its jobs, as frozen records; `views` makes them from rows.

A field without a value is `null`; only a `city` and `language` not asked for are left out.
"""

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from orchestrator.domain.envelope import (
    Answer,
    Evidence,
    Failure,
    Provenance,
    Source,
    Warning,  # noqa: A004 - the contract's word
    Wire,
)
from orchestrator.domain.regions import Region
from orchestrator.domain.states import ChildStatus, ParentStatus

WaitingReason = Literal[
    "admission",
    "delay",
    "lane_full",
    "lane_rate",
    "breaker_open",
    "lane_paused",
    "key_concurrency",
    "retry",
    "no_worker",
]


class Counts(Wire):
    """How many cells are where; `waiting` are those of a parent still in the admission queue."""

    waiting: int = 0
    queued: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    canceled: int = 0
    expired: int = 0


class Credits(Wire):
    """What a job may cost and did cost; null where nothing is counted."""

    estimated: int | None = None
    charged: int | None = None


class Waiting(Wire):
    """Why a cell is not running yet, and until when where that is known."""

    reason: WaitingReason
    until: str | None = None


class Try(Wire):
    """One entry of `attemptLog`: a try of a child, running or ended."""

    number: int
    status: str
    code: str | None
    response_code: int | None
    started_at: str
    ended_at: str | None


class ParentJob(Wire):
    """A parent as a job read shows it.

    `position` (from 1) is among its key's parents in the queue, exact to 10,000.
    """

    id: str
    query: str
    status: ParentStatus
    run: int
    priority: int
    surfaces: tuple[str, ...]
    regions: tuple[Region, ...]
    group: str | None
    counts: Counts
    position: int | None
    position_estimated: bool | None
    estimated_start_at: str | None
    requested_at: str
    started_at: str | None
    completed_at: str | None
    cancel_requested_at: str | None
    deadline_at: str | None
    metadata: dict[str, str]
    credits: Credits


class ChildSummary(Wire, kw_only=True):
    """A child as the read of its parent lists it."""

    id: str
    surface: str
    region: str
    city: str | UnsetType = UNSET
    language: str | UnsetType = UNSET
    status: ChildStatus
    attempts: int
    waiting: Waiting | None
    error: Failure | None
    completed_at: str | None


class JobRead(Wire):
    """The answer to a read of a parent."""

    job: ParentJob
    children: tuple[ChildSummary, ...]


class Artifact(Wire):
    """A file kept with a capture."""

    kind: str
    url: str
    bytes: int
    sha256: str


class ChildJob(Wire, kw_only=True):
    """The `job` part of an Envelope. `latency_ms` runs from the first pick-up to the end."""

    id: str
    query: str
    surface: str
    region: str
    city: str | UnsetType = UNSET
    language: str | UnsetType = UNSET
    status: ChildStatus
    run: int
    attempts: int
    attempt_log: tuple[Try, ...]
    waiting: Waiting | None
    warnings: tuple[Warning, ...]
    error: Failure | None
    requested_at: str
    started_at: str | None
    completed_at: str | None
    latency_ms: int | None
    cancel_requested_at: str | None
    credits: Credits
    artifacts: tuple[Artifact, ...]


class Envelope(Wire):
    """Everything known about a child, in one shape for every surface and in every state."""

    job: ChildJob
    provenance: Provenance
    answer: Answer
    evidence: Evidence
    raw: Any


class FlatResult(Wire):
    """An Envelope for a reader who wants the text alone (`?view=flat`)."""

    surface: str
    region: str
    status: ChildStatus
    text: str
    markdown: str
    sources: tuple[Source, ...]


class Results(Wire):
    """A page of Envelopes; `next_cursor` is null on the last."""

    results: tuple[Envelope, ...]
    next_cursor: str | None


class FlatResults(Wire):
    """Flat results: a page, `next_cursor` null on the last, or, without one, all there are."""

    results: tuple[FlatResult, ...]
    next_cursor: str | UnsetType | None = UNSET


class Accepted(Wire):
    """A stored submission: the parent's id and its children's, in cell order."""

    job_id: str
    status: ParentStatus
    children: tuple[str, ...]
    warnings: tuple[Warning, ...]


class SyncResult(Wire):
    """What a sync call of several cells found: the ended parent, its Envelopes in cell order."""

    job: ParentJob
    children: tuple[Envelope, ...]
