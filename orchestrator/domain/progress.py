"""How far a cell is, told from its row; a cell without one is still, or was only, its parent's."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice
from typing import cast

from orchestrator.domain.documents import Try, Waiting
from orchestrator.domain.envelope import OVERDUE, Failure
from orchestrator.domain.obstacles import Obstacle, Obstacles
from orchestrator.domain.rows import Attempt, ChildRow, ParentRow
from orchestrator.domain.states import ChildState, ChildStatus, ParentState
from orchestrator.domain.times import rfc3339

LOGGED_ATTEMPTS = 20


def rows(parent: ParentRow, children: Iterable[ChildRow]) -> dict[int, ChildRow]:
    """The rows by ordinal that tell of the present run.

    A parent that waits to run some cells again still has what those were in the run before.
    """
    again = set(parent.todo or ()) if parent.state.waiting else ()
    return {child.ordinal: child for child in children if child.ordinal not in again}


def current(parent: ParentRow, child: ChildRow | None) -> ChildRow | None:
    """The row of a cell if it tells of the present run."""
    return rows(parent, (child,)).get(child.ordinal) if child else None


def status(parent: ParentRow, child: ChildRow | None) -> ChildStatus:
    """The word a client reads of a cell; one without a row waits with its parent, or ended so."""
    if child is not None:
        return child.state.wire
    if parent.state.ended:
        return cast("ChildStatus", parent.stop or parent.state.value)
    return "queued"


def waiting(
    parent: ParentRow, ordinal: int, child: ChildRow | None, obstacles: Obstacles | None = None
) -> Waiting | None:
    """Why a cell is not running yet; None when it runs, ended, or may run at once."""
    if child is None:
        return None if parent.state.ended else _held(parent, ordinal, obstacles)
    if child.state is ChildState.RETRYING:
        return Waiting(reason="retry", until=rfc3339(child.run_at))
    if child.state is not ChildState.QUEUED or obstacles is None:
        return None
    met = obstacles.to(child.lane_id, sync=child.sync)
    return _told(met) if met else None


def _held(parent: ParentRow, ordinal: int, obstacles: Obstacles | None) -> Waiting:
    """Why a cell waits with its parent: for its delay, for its own lane, or for its turn."""
    if parent.state is ParentState.DELAYED:
        return _told(("delay", parent.not_before))
    lane = next(islice(parent.lanes, ordinal - 1, None), None)
    met = obstacles.holding(lane) if obstacles and lane is not None else None
    return _told(met or ("admission", None))


def _told(met: Obstacle) -> Waiting:
    reason, until = met
    return Waiting(reason=reason, until=rfc3339(until))


def error(parent: ParentRow, child: ChildRow | None) -> Failure | None:
    """Why a cell ended without an answer; None when it has one, was canceled or has not ended."""
    if child is not None:
        return child.error
    return OVERDUE if status(parent, None) == "expired" else None


def cancel_requested_at(parent: ParentRow, child: ChildRow | None) -> datetime | None:
    """When somebody asked for a cell to be canceled before it had ended."""
    return child.cancel_requested_at if child else parent.cancel_requested_at


def ended_at(parent: ParentRow, child: ChildRow | None) -> datetime | None:
    """When a cell ended."""
    return child.finished_at if child else parent.finished_at


def latency_ms(child: ChildRow | None) -> int | None:
    """From the first pick-up of a child to its end."""
    if child is None or child.started_at is None or child.finished_at is None:
        return None
    return round((child.finished_at - child.started_at) / timedelta(milliseconds=1))


def tries(child: ChildRow | None) -> tuple[Try, ...]:
    """What a client reads of a child's attempts, the last twenty."""
    return tuple(map(_try, attempts(child)))


def attempts(child: ChildRow | None) -> tuple[Attempt, ...]:
    """The stored attempts and the one not in the log: it still runs, or it ended the child."""
    if child is None:
        return ()
    # A try lost with its node is not counted: the next one has the same number.
    logged = max((attempt.number for attempt in child.log if attempt.status != "lost"), default=0)
    last = _last_attempt(child) if child.attempt > logged else None
    return (*child.log, last)[-LOGGED_ATTEMPTS:] if last else child.log[-LOGGED_ATTEMPTS:]


def _last_attempt(child: ChildRow) -> Attempt | None:
    """The attempt the claim on the row speaks of; a child lost with its node has none."""
    running = child.state is ChildState.PROCESSING or child.state.ended
    if child.claimed_at is None or not running:
        return None
    return Attempt(
        number=child.attempt,
        status=child.state.wire,
        code=child.error.code if child.error else None,
        response_code=child.response_code,
        started_at=child.claimed_at,
        ended_at=child.finished_at,
    )


def _try(attempt: Attempt) -> Try:
    return Try(
        number=attempt.number,
        status=attempt.status,
        code=attempt.code,
        response_code=attempt.response_code,
        started_at=rfc3339(attempt.started_at),
        ended_at=rfc3339(attempt.ended_at),
    )
