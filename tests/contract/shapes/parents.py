"""The read of a parent in each of its states."""

from collections.abc import Mapping

from orchestrator.domain import views
from orchestrator.domain.documents import JobRead
from orchestrator.domain.obstacles import LaneNow, Obstacles
from orchestrator.domain.regions import Region
from orchestrator.domain.rows import ChildRow, ParentRow
from orchestrator.domain.states import ChildState, ParentState
from orchestrator.domain.views import Queued
from tests.contract.rows import (
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

FREE = LaneNow(
    served=True,
    paused=False,
    open_until=None,
    not_before=None,
    next_token_at=None,
    limit=9,
    processing=0,
    async_limit=9,
    async_processing=0,
)
FULL = FREE._replace(processing=9)
RESTING = FREE._replace(open_until=after(30))
PROBED = FREE._replace(open_until=after(1), processing=1)
UNSERVED = FREE._replace(served=False)
PAUSED = FREE._replace(paused=True)
PUT_OFF = FREE._replace(not_before=after(60), next_token_at=after(4))
PACED = FREE._replace(next_token_at=after(3.5))
BARRED = dict(enumerate((FULL, RESTING, UNSERVED, PAUSED, PROBED, PUT_OFF, PACED), 9))
"""The lanes of the last cells of a wide parent."""
COUNTRIES = ("US", "GB", "FR", "DE", "IT", "ES", "NL", "SE")
COUNTRIES += ("NO", "PL", "AT", "BE", "CH", "DK", "FI")


def obstacles(lanes: Mapping[int, LaneNow] | None = None, *, key_full: bool = False) -> Obstacles:
    """What is in the way of ready children; lanes of which nothing is said are free."""
    now = dict.fromkeys(range(1, len(COUNTRIES) + 1), FREE) | (lanes or {})
    return Obstacles(now=after(3), lanes=now, key_full=key_full, async_full=False)


def read(of: ParentRow, *children: ChildRow, queued: Queued | None = None) -> JobRead:
    """The read of a parent whose lanes from cell 9 on are barred."""
    return views.job_read(of, children, queued=queued or Queued(), obstacles=obstacles(BARRED))


WAITING = parent(
    ParentState.QUEUED, plan(group="night", deadline=3600.0, priority=7), deadline_at=after(3600)
)
DELAYED = parent(ParentState.DELAYED, plan(delay=60.0), not_before=after(60))
WORKING = parent(ParentState.PROCESSING)
WIDE = parent(
    ParentState.PROCESSING,
    plan(*map(Region, COUNTRIES)),
    done=4,
    failed=1,
    canceled=1,
    expired=1,
)
PARTIAL = parent(ParentState.PARTIAL, failed=1, charged=5)
CANCELED = parent(
    ParentState.CANCELED, canceled=2, stop="canceled", cancel_requested_at=after(3.25)
)
HELD = parent(ParentState.QUEUED, plan(*map(Region, COUNTRIES)))
RETRIED = parent(ParentState.QUEUED, run=2, done=1, todo=(2,), charged=5)

SHAPES = {
    "parent-waiting": read(WAITING, queued=Queued(12, estimated=False, start_at=after(2))),
    "parent-held": read(HELD, queued=Queued(1, estimated=False)),
    "parent-delayed": read(DELAYED, queued=Queued(start_at=after(60))),
    "parent-processing": read(
        WIDE,
        *(completed(1), failed(2), canceled(3), expired(4)),
        child(5, ChildState.PROCESSING),
        child(6, ChildState.PROCESSING, cancel_requested_at=after(3.5)),
        retrying(7),
        *(child(ordinal, ChildState.QUEUED) for ordinal in (8, *BARRED)),
    ),
    "parent-processing-key-full": views.job_read(
        WORKING,
        [child(1, ChildState.PROCESSING), child(2, ChildState.QUEUED)],
        obstacles=obstacles(key_full=True),
    ),
    "parent-completed": read(parent(ParentState.COMPLETED, charged=10), completed(1), completed(2)),
    "parent-completed-early": read(
        parent(ParentState.COMPLETED, plan(finish=1), canceled=1, stop="canceled", charged=5),
        completed(1),
        canceled(2)._replace(cancel_requested_at=None),
    ),
    "parent-partial": read(PARTIAL, completed(1), failed(2)),
    "parent-failed": read(parent(ParentState.FAILED, failed=2), failed(1), failed(2)),
    "parent-canceled-in-queue": read(
        CANCELED._replace(started_at=None, cancel_requested_at=after(4))
    ),
    "parent-canceled-at-work": read(
        CANCELED,
        child(1, ChildState.CANCELED, cancel_requested_at=after(3.25), finished_at=after(4)),
        canceled(2),
    ),
    "parent-expired-in-queue": read(
        parent(ParentState.EXPIRED, plan(deadline=4.0), expired=2, deadline_at=after(4))._replace(
            started_at=None
        )
    ),
    "parent-expired-at-work": read(
        parent(
            ParentState.EXPIRED,
            plan(deadline=60.0),
            expired=2,
            deadline_at=after(60),
        )._replace(finished_at=after(60.5)),
        expired(1),
        expired(2)._replace(attempt=0, started_at=None, claimed_at=None, finished_at=after(60)),
    ),
    "parent-retried": read(
        RETRIED, completed(1), failed(2), queued=Queued(1, estimated=False, start_at=after(9))
    ),
}
