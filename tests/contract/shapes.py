"""The documents of reads, made from rows alone: the name of each golden and what makes it."""

from collections.abc import Callable, Mapping
from uuid import UUID

import msgspec

from orchestrator.api import sse
from orchestrator.domain import events, listed, views
from orchestrator.domain.documents import Envelope, FlatResults, JobRead, Results
from orchestrator.domain.many import Jobs
from orchestrator.domain.obstacles import LaneNow, Obstacles
from orchestrator.domain.regions import Region
from orchestrator.domain.rows import ChildRow, ParentRow
from orchestrator.domain.states import ChildState, ParentState
from orchestrator.domain.views import Queued
from tests.contract import rows
from tests.contract.rows import (
    PARENT,
    SURFACES,
    after,
    canceled,
    child,
    completed,
    expired,
    failed,
    parent,
    plan,
    retrying,
)

COUNTRIES = ("US", "GB", "FR", "DE", "IT", "ES", "NL", "SE", "NO", "PL", "AT", "BE")
TEXTS: dict[str, Callable[[], str]] = {}
DOCUMENTS: dict[str, Callable[[], msgspec.Struct]] = {}

FREE = LaneNow(True, None, 9, 0, 9, 0)
UNSERVED = LaneNow(False, None, 9, 0, 9, 0)
FULL = LaneNow(True, None, 9, 9, 9, 9)
RESTING = LaneNow(True, after(30), 9, 0, 9, 0)


def document(name: str) -> Callable[[Callable[[], msgspec.Struct]], None]:
    """The function makes the JSON of this golden."""

    def known(make: Callable[[], msgspec.Struct]) -> None:
        DOCUMENTS[f"{name}.json"] = make

    return known


def text(name: str) -> Callable[[Callable[[], str]], None]:
    """The function makes the text of this golden."""

    def known(make: Callable[[], str]) -> None:
        TEXTS[name] = make

    return known


def obstacles(lanes: Mapping[int, LaneNow] | None = None, *, key_full: bool = False) -> Obstacles:
    """What is in the way of ready children: nothing in lanes of which nothing is said."""
    return Obstacles(after(3), dict.fromkeys(range(1, 13), FREE) | (lanes or {}), key_full, False)


def read(of: ParentRow, *children: ChildRow, queued: Queued | None = None) -> JobRead:
    return views.job_read(of, children, queued=queued or Queued(), obstacles=obstacles())


def envelope(of: ParentRow, row: ChildRow | None, ordinal: int = 1) -> Envelope:
    cell = of.plan.cell(ordinal)
    return views.envelope(of, cell, row, SURFACES[cell.surface], obstacles({1: FULL}))


WORKING = parent(ParentState.PROCESSING)
RETRIED = parent(
    ParentState.QUEUED, run=2, done=1, started_at=None, finished_at=None, todo=(2,), charged=5
)


@document("parent-waiting")
def _() -> msgspec.Struct:
    asked = plan(group="night", deadline=3600.0, priority=7)
    of = parent(ParentState.QUEUED, asked, deadline_at=after(3600))
    return read(of, queued=Queued(12, estimated=False, start_at=after(2)))


@document("parent-delayed")
def _() -> msgspec.Struct:
    of = parent(ParentState.DELAYED, plan(delay=60.0), not_before=after(60))
    return read(of, queued=Queued(start_at=after(60)))


@document("parent-processing")
def _() -> msgspec.Struct:
    of = parent(ParentState.PROCESSING, plan(*map(Region, COUNTRIES)), done=4)
    running = child(6, ChildState.PROCESSING, cancel_requested_at=after(3.5))
    children = [
        *(completed(1), failed(2), canceled(3), expired(4)),
        *(child(5, ChildState.PROCESSING), running, retrying(7)),
        *(child(ordinal, ChildState.QUEUED) for ordinal in range(8, 13)),
    ]
    now = obstacles({9: FULL, 10: RESTING, 11: UNSERVED})
    return views.job_read(of, children, obstacles=now)


@document("parent-processing-key-full")
def _() -> msgspec.Struct:
    rows = [child(1, ChildState.PROCESSING), child(2, ChildState.QUEUED)]
    return views.job_read(WORKING, rows, obstacles=obstacles(key_full=True))


@document("parent-completed")
def _() -> msgspec.Struct:
    return read(parent(ParentState.COMPLETED, charged=10), completed(1), completed(2))


@document("parent-completed-early")
def _() -> msgspec.Struct:
    of = parent(ParentState.COMPLETED, plan(finish=1), canceled=1, stop="canceled", charged=5)
    return read(of, completed(1), canceled(2)._replace(cancel_requested_at=None))


@document("parent-partial")
def _() -> msgspec.Struct:
    return read(parent(ParentState.PARTIAL, failed=1, charged=5), completed(1), failed(2))


@document("parent-failed")
def _() -> msgspec.Struct:
    return read(parent(ParentState.FAILED, failed=2), failed(1), failed(2))


@document("parent-canceled-in-queue")
def _() -> msgspec.Struct:
    of = parent(ParentState.CANCELED, canceled=2, stop="canceled", cancel_requested_at=after(4))
    return read(of._replace(started_at=None))


@document("parent-canceled-at-work")
def _() -> msgspec.Struct:
    asked = after(3.25)
    of = parent(ParentState.CANCELED, canceled=2, stop="canceled", cancel_requested_at=asked)
    interrupted = child(1, ChildState.CANCELED, cancel_requested_at=asked, finished_at=after(4))
    return read(of, interrupted, canceled(2))


@document("parent-expired-in-queue")
def _() -> msgspec.Struct:
    of = parent(ParentState.EXPIRED, plan(deadline=4.0), expired=2, stop="expired")
    return read(of._replace(started_at=None, deadline_at=after(4)))


@document("parent-expired-at-work")
def _() -> msgspec.Struct:
    of = parent(ParentState.EXPIRED, plan(deadline=60.0), expired=2, stop="expired")
    of = of._replace(deadline_at=after(60), finished_at=after(60.5))
    unstarted = expired(2)._replace(
        attempt=0, started_at=None, claimed_at=None, finished_at=after(60)
    )
    return read(of, expired(1), unstarted)


@document("parent-retried")
def _() -> msgspec.Struct:
    return read(RETRIED, completed(1), failed(2), queued=Queued(1, estimated=False))


@document("child-waiting")
def _() -> msgspec.Struct:
    return envelope(parent(ParentState.QUEUED), None, 2)


@document("child-delayed")
def _() -> msgspec.Struct:
    of = parent(ParentState.DELAYED, plan(delay=60.0), not_before=after(60))
    return envelope(of, None)


@document("child-queued")
def _() -> msgspec.Struct:
    return envelope(WORKING, child(1, ChildState.QUEUED))


@document("child-processing")
def _() -> msgspec.Struct:
    return envelope(WORKING, child(1, ChildState.PROCESSING))


@document("child-processing-cancel-requested")
def _() -> msgspec.Struct:
    return envelope(WORKING, child(1, ChildState.PROCESSING, cancel_requested_at=after(3)))


@document("child-between-attempts")
def _() -> msgspec.Struct:
    return envelope(WORKING, retrying(1))


@document("child-completed")
def _() -> msgspec.Struct:
    return envelope(parent(ParentState.PARTIAL), completed(1))


@document("child-completed-absent")
def _() -> msgspec.Struct:
    return envelope(parent(ParentState.COMPLETED), completed(1, rows.absent()))


@document("child-completed-flat")
def _() -> msgspec.Struct:
    return views.flat(envelope(parent(ParentState.COMPLETED), completed(1)))


@document("child-failed")
def _() -> msgspec.Struct:
    return envelope(parent(ParentState.FAILED), failed(1))


@document("child-canceled")
def _() -> msgspec.Struct:
    return envelope(WORKING, canceled(1))


@document("child-expired")
def _() -> msgspec.Struct:
    return envelope(parent(ParentState.EXPIRED), expired(1))


@document("child-retried")
def _() -> msgspec.Struct:
    return envelope(RETRIED, failed(2), 2)


@document("jobs")
def _() -> msgspec.Struct:
    newer = parent(ParentState.QUEUED, plan(group="night"), id=UUID(int=PARENT.int + 1))
    older = parent(ParentState.PROCESSING, done=1, failed=1)
    page = tuple(listed.job(of, running) for of, running in ((newer, 0), (older, 1)))
    return Jobs(jobs=page, next_cursor="cAGZ86BcAHAAgAACQqwSAAI")


@document("results")
def _() -> msgspec.Struct:
    of = parent(ParentState.PARTIAL, failed=1)
    found = views.envelopes(of, of.plan.cells(), [completed(1), failed(2)], SURFACES)
    return Results(results=tuple(found), next_cursor=None)


@document("results-flat")
def _() -> msgspec.Struct:
    of = parent(ParentState.PARTIAL, failed=1)
    found = views.envelopes(of, [of.plan.cell(1)], [completed(1)], SURFACES)
    return FlatResults(results=tuple(map(views.flat, found)), next_cursor="bzE")


@text("events.txt")
def _() -> str:
    """A stream from the queue to the end, at four moments."""
    half = parent(ParentState.PROCESSING, done=1)
    moments = (
        read(parent(ParentState.QUEUED)),
        read(WORKING, child(1, ChildState.PROCESSING), child(2, ChildState.QUEUED)),
        read(half, completed(1), retrying(2)),
        read(parent(ParentState.PARTIAL, failed=1, charged=5), completed(1), failed(2)),
    )
    seen, told = events.nothing(2), b""
    for now in moments:
        told += b"".join(sse.event(e.name, e.data, e.id) for e in events.since(seen, now, PARENT))
        seen = events.of(now)
    return told.decode()
