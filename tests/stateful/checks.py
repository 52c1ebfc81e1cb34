"""What is judged after each step: rows that agree with each other, ends, and limits."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from admission.limits import Limits
from orchestrator.domain import rollup
from orchestrator.domain.states import ChildState, ParentState
from orchestrator.store.counters import Difference
from tests.stateful.model import Model
from tests.stateful.rows import SYNC_FIRST, ChildRow, Lane, Rows

RUNNING = ChildState.PROCESSING


@dataclass(kw_only=True)
class Seen(Model):
    """Rows, when parents ended, and the counters that lie."""

    finished: dict[UUID, datetime] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)


def within_admission(before: Rows, after: Rows, limits: Mapping[int, Limits]) -> None:
    """Where a key has taken more than before, it is no more than its limits allow."""
    for key, most in limits.items():
        sync = most.sync_limit
        assert after.depth(key) <= max(before.depth(key), most.queue_capacity)
        assert after.sync_running(key, sync) <= max(before.sync_running(key, sync), sync)
        assert after.unfinished(key) <= max(before.unfinished(key), 2 * sync)


def within_limits(
    before: Rows, after: Rows, lanes: Mapping[int, Lane], limits: Mapping[int, Limits]
) -> None:
    """Where more runs than before, it is no more than the limits allow."""
    was, now = before.by_lane(RUNNING), after.by_lane(RUNNING)
    assert [lane for lane in now if now[lane] > max(was[lane], lanes[lane].most)] == []
    was, now = before.by_lane(RUNNING, sync=False), after.by_lane(RUNNING, sync=False)
    assert [lane for lane in now if now[lane] > max(was[lane], lanes[lane].most_async)] == []
    was, now = before.by_key(RUNNING), after.by_key(RUNNING)
    every = {key: most.concurrency + most.sync_limit for key, most in limits.items()}
    assert [key for key in now if now[key] > max(was[key], every[key])] == []
    was, now = before.by_key(RUNNING, sync=False), after.by_key(RUNNING, sync=False)
    assert [key for key in now if now[key] > max(was[key], limits[key].concurrency)] == []


def consistent(seen: Rows) -> None:
    """A parent has all its children or none, counts their ends, and ends with the last."""
    by_parent: dict[UUID, list[ChildRow]] = {parent: [] for parent in seen.parents}
    for (parent, _), child in seen.children.items():
        by_parent[parent].append(child)
    for parent, row in seen.parents.items():
        children = by_parent[parent]
        assert len(children) == (0 if row.state is ParentState.QUEUED else len(row.lanes))
        assert {child.priority - row.priority for child in children} <= {SYNC_FIRST * row.sync}
        ends = Counter(child.state for child in children if child.state.ended)
        assert (row.done, row.failed) == (ends.total(), ends[ChildState.FAILED])
        assert row.state.ended == (row.done == len(row.lanes))
        if row.state.ended:
            completed = ends[ChildState.COMPLETED]
            end = rollup.end(completed=completed, failed=row.failed, canceled=0, expired=0)
            assert row.state is end


def attended(seen: Rows) -> None:
    """What is to be answered has somebody waiting; a name stands for one parent."""
    waited_for = {caller.parent for caller in seen.callers.values()}
    for parent, row in seen.parents.items():
        assert row.mode != "sync" or row.state.ended or parent in waited_for
        assert (row.name is None) == (row.payload is None)
    names = Counter((row.key, row.name) for row in seen.parents.values() if row.name)
    assert [name for name, n in names.items() if n > 1] == []


def ended_once(before: Mapping[UUID, datetime], seen: Seen, told: Counter[UUID]) -> None:
    """An end has one moment, which stays, and one caller who was told."""
    ended = {parent for parent, row in seen.parents.items() if row.state.ended}
    assert seen.finished.keys() == ended
    assert before.items() <= seen.finished.items()
    assert told == Counter(ended)
