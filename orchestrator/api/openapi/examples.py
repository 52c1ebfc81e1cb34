"""Examples for the OpenAPI document, made by the code that makes the real thing."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from admission.limits import Limits
from orchestrator.api import sse
from orchestrator.api.account import PLAN, Balance, KeyView, LimitsView, Quotas, UsageView, Used
from orchestrator.api.batch import BatchAnswer, BatchItem
from orchestrator.api.capacity import Health, SurfaceLimits, Surfaces, SurfaceView
from orchestrator.api.codes import STATUSES, Code
from orchestrator.api.problems import Error
from orchestrator.domain import cell_views, events, ids, listed, views
from orchestrator.domain.documents import Accepted, FlatResults, JobRead, Results, SyncResult
from orchestrator.domain.envelope import Answer, Capture, Evidence, Provenance, Seen, Source
from orchestrator.domain.lane_views import Breaker, LaneView
from orchestrator.domain.many import (
    BatchJob,
    CellsByStatus,
    Cleared,
    GroupView,
    Jobs,
    Matched,
    ParentsByStatus,
)
from orchestrator.domain.plan import Plan
from orchestrator.domain.preflight import Preflight, Reserved
from orchestrator.domain.regions import Region
from orchestrator.domain.rows import ChildRow, ParentRow
from orchestrator.domain.snapshot import Headroom
from orchestrator.domain.states import ChildState, ParentState
from orchestrator.domain.times import rfc3339

NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
PARENT = UUID("0199f3a0-5c00-7000-8000-0242ac120002")
JOB = ids.text(PARENT)
SURFACES = ("chatgpt", "perplexity")
SUBMISSIONS = {
    "SubmitRequest": {
        "query": "best running shoes",
        "surfaces": list(SURFACES),
        "regions": ["US", {"country": "GB", "city": "London"}],
        "metadata": {"campaign": "spring"},
        "idempotencyKey": "spring-1",
    },
    "BatchRequest": {
        "items": [
            {"query": "best running shoes", "surfaces": ["chatgpt"], "group": "spring"},
            {"query": "best trail shoes", "surfaces": ["chatgpt"], "group": "spring", "delay": 60},
        ]
    },
    "PreflightRequest": {
        "jobs": 150,
        "surfaces": list(SURFACES),
        "regions": ["US", "GB"],
        "reserveSeconds": 60,
    },
    "LimitRequest": {"concurrency": 10},
    "ReplayRequest": {
        "from": "2026-01-05T09:00:00Z",
        "to": "2026-01-05T10:00:00Z",
        "status": "dead",
    },
    "RetryRequest": {"statuses": ["failed", "canceled"]},
    "SurfaceRequest": {"prompt": "best running shoes", "country": "GB", "city": "London"},
    "WebhookSecretRequest": {"expiresAt": "2999-01-31T00:00:00Z"},
}

LANE = LaneView(
    surface="chatgpt",
    country="US",
    concurrency=100,
    rate="50/s",
    limit=40,
    adaptive_limit=100,
    allowed=40,
    queued=7,
    processing=20,
    paused=False,
    retry_at=None,
    breaker=Breaker(),
)

CHATGPT = SurfaceView(
    name="chatgpt",
    adapter="simulator",
    method="simulator",
    regions=None,
    limits=SurfaceLimits(
        concurrency=100, rate="50/s", slots=1, attempts=4, timeout_seconds=30.0, credits=5
    ),
    live_workers=1,
    options_schema={"type": "object"},
    lanes=(LANE,),
)


def documents() -> dict[str, Any]:
    """An example of each document, by its name."""
    parent, rows = _parent(), _rows()
    cells = list(parent.plan.cells())
    envelopes = tuple(cell_views.envelopes(parent, cells[:1], rows, {"chatgpt": CHATGPT}))
    return {
        "Accepted": _plain(
            Accepted(
                job_id=JOB,
                status="queued",
                children=tuple(ids.child_text(JOB, c.surface, c.token) for c in cells),
                warnings=(),
            )
        ),
        "BatchAnswer": _plain(BatchAnswer(items=(_accepted(), _rejected()))),
        "JobRead": _plain(views.job_read(parent, rows)),
        "Envelope": _plain(envelopes[0]),
        "FlatResult": _plain(cell_views.flat(envelopes[0])),
        "Results": _plain(Results(results=envelopes, next_cursor="bzE")),
        "FlatResults": _plain(
            FlatResults(results=tuple(map(cell_views.flat, envelopes)), next_cursor="bzE")
        ),
        "Jobs": _plain(Jobs(jobs=(listed.job(parent, 1),), next_cursor=None)),
        "JobEvents": _events(views.job_read(parent, rows)),
        "StatusEvents": sse.event("snapshot", SNAPSHOT, "EzGwbpTqOZ1r4VdmZQ2x").decode(),
        "SyncResult": _plain(SyncResult(job=views.job_read(parent, rows).job, children=envelopes)),
        "KeyView": _plain(_key()),
        "UsageView": _plain(_usage()),
        "Surfaces": _plain(Surfaces(surfaces=(CHATGPT,))),
        "Health": _plain(Health()),
        "Snapshot": SNAPSHOT,
        "Preflight": _plain(_preflight()),
        "Cleared": _plain(Cleared(cleared=3)),
        "GroupView": _plain(_group()),
        "Matched": _plain(Matched(group="spring", matched=3)),
    }


def _events(read: JobRead) -> str:
    """The first and the last of those a stream begins with."""
    told = list(events.since(events.nothing(len(read.children)), read, PARENT))
    return b"".join(sse.event(e.name, e.data, e.id) for e in (told[0], told[-1])).decode()


def _group() -> GroupView:
    ended = {"partial": 0, "failed": 1, "canceled": 0, "expired": 0}
    return GroupView(
        group="spring",
        parents=ParentsByStatus(queued=2, processing=1, completed=96, **ended),
        cells=CellsByStatus(queued=9, processing=3, completed=384, failed=4, canceled=0, expired=0),
    )


def _preflight() -> Preflight:
    ends = rfc3339(NOW + timedelta(minutes=1))
    reserved = Reserved(id=ids.reservation_text(PARENT), places=150, expires_at=ends)
    return Preflight(
        admitted=True,
        binding=None,
        headroom=Headroom(asynchronous=41, sync=8),
        retry_after_seconds=None,
        estimated_start_seconds=2.812,
        estimated_finish_seconds=201.875,
        estimated_credits=6_000,
        reservation=reserved,
    )


def _accepted() -> BatchItem:
    job = BatchJob(id=JOB, status="queued", children=(f"{JOB}.chatgpt.us",))
    return BatchItem(index=0, status="accepted", job=job, error=None)


def _rejected() -> BatchItem:
    error = Error(
        code=Code.IDEMPOTENCY_CONFLICT,
        message="This idempotency key stands for another request.",
        status=STATUSES[Code.IDEMPOTENCY_CONFLICT].value,
        timestamp=rfc3339(NOW),
        request_id="5f1c0a9be2d34c7788aa0011",
        details={"jobId": JOB},
    )
    return BatchItem(index=1, status="rejected", job=None, error=error)


def _key() -> KeyView:
    limits = LimitsView(**Limits()._asdict())
    return KeyView(id=1, name="spring", role="client", limits=limits, expires_at=None)


def _usage() -> UsageView:
    used = Used(total_jobs=45, by_surface={"chatgpt": 25, "perplexity": 20})
    balance = Balance(plan=PLAN, credits=None, unlimited=True)
    return UsageView(plan=PLAN, usage=used, balance=balance, quotas=Quotas())


def _plain(document: msgspec.Struct) -> Any:
    return msgspec.to_builtins(document)


def completed() -> tuple[ParentRow, ChildRow]:
    """A parent, and the first of its children, which has its capture."""
    return _parent(), _rows()[0]


def _parent() -> ParentRow:
    plan = Plan(
        query="best running shoes",
        surfaces=SURFACES,
        regions=(Region(country="US"), Region(country="GB", city="London")),
        metadata={"campaign": "spring"},
    )
    return ParentRow(
        id=PARENT,
        key_id=1,
        state=ParentState.PROCESSING,
        priority=5,
        total=4,
        done=1,
        failed=0,
        canceled=0,
        expired=0,
        run=1,
        plan=plan,
        created_at=NOW,
        started_at=NOW + timedelta(seconds=1),
        finished_at=None,
    )


def _rows() -> list[ChildRow]:
    return [
        _row(1, ChildState.COMPLETED, _capture()),
        _row(2, ChildState.PROCESSING),
        _row(3, ChildState.QUEUED),
        _row(4, ChildState.QUEUED),
    ]


def _row(ordinal: int, state: ChildState, capture: msgspec.Raw | None = None) -> ChildRow:
    started = None if state is ChildState.QUEUED else NOW + timedelta(seconds=1)
    return ChildRow(
        parent_id=PARENT,
        ordinal=ordinal,
        state=state,
        attempt=0 if started is None else 1,
        run_at=None,
        started_at=started,
        claimed_at=started,
        finished_at=NOW + timedelta(seconds=3.25) if state.ended else None,
        error=None,
        log=(),
        capture=capture,
        response_code=200 if state.ended else None,
    )


def _capture() -> msgspec.Raw:
    text = "Most reviews name three shoes."
    page = Source(id=1, url="https://example.com/shoes", title="Shoes", char_ranges=((0, 30),))
    capture = Capture(
        answer=Answer(text=text, markdown=text),
        evidence=Evidence(sources=(page,)),
        provenance=Provenance(
            adapter="simulator",
            method="simulator",
            region=Seen(requested="US", effective="US"),
            surface_present=True,
            captured_at=rfc3339(NOW + timedelta(seconds=3.25)),
        ),
    )
    return msgspec.Raw(msgspec.json.encode(capture))


SNAPSHOT = {
    "admissionQueue": {
        "depth": 12,
        "capacity": 200,
        "waiting": 9,
        "reserved": 3,
        "delayed": 1,
        "held": [
            {
                "surface": "perplexity",
                "region": "GB",
                "parents": 2,
                "reason": "breaker_open",
                "until": rfc3339(NOW + timedelta(seconds=20)),
            }
        ],
        "drainPerSecond": 3.2,
        "oldestAgeSeconds": 4.1,
    },
    "syncConcurrency": {"limit": 8, "running": 0},
    "requestRate": {"limit": 600, "remaining": 600, "resetAt": rfc3339(NOW)},
    "inflight": {
        "total": 45,
        "waiting": 18,
        "queued": 7,
        "processing": 20,
        "bySurface": {"chatgpt": 25, "perplexity": 20},
        "byRegion": {"GB": 15, "US": 30},
    },
    "queuedTasks": 25,
    "processingTasks": 20,
    "priorityBreakdown": [{"priority": 10, "count": 5}, {"priority": 5, "count": 20}],
    "concurrency": {"used": 20, "max": 58},
    "headroom": {"async": 188, "sync": 8},
    "asOf": rfc3339(NOW),
}
