"""What is judged: rows that agree with each other, a storm of things at once, a snapshot."""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self
from uuid import UUID

from admission.keys import Key
from admission.limits import Limits
from orchestrator.domain import rollup
from orchestrator.domain.snapshot import Snapshot
from orchestrator.domain.states import ChildState, ParentState
from orchestrator.store.children import Fence, Outcome, Settled
from orchestrator.store.counters import Difference
from orchestrator.store.lanes import LaneRow
from tests.stateful.model import Rows

RUNNING = ChildState.PROCESSING
WAITING = (ChildState.QUEUED, ChildState.RETRYING)


@dataclass(kw_only=True)
class Seen(Rows):
    """Rows, when parents ended, and the counters that lie."""

    finished: dict[UUID, datetime] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)

    def copy(self) -> Self:
        twin = copy.copy(self)
        twin.parents, twin.children = dict(self.parents), dict(self.children)
        return twin


@dataclass(kw_only=True)
class Storm:
    """Things done at the same moment, and what they answered."""

    before: Seen
    admitted: list[UUID] = field(default_factory=list)
    born: int = 0
    fences: list[Fence] = field(default_factory=list)
    ended: list[UUID] = field(default_factory=list)

    def settle(self, outcomes: Sequence[Outcome], answer: Settled) -> None:
        distinct = len({outcome.fence for outcome in outcomes})
        assert answer.children <= distinct
        self.ended += answer.parents

    def judge(self, seen: Seen, lanes: Mapping[int, int], limits: Mapping[int, Limits]) -> None:
        before = self.before
        assert seen.parents.keys() - before.parents.keys() == set(self.admitted)
        assert before.parents.keys() <= seen.parents.keys()
        assert len(seen.children) - len(before.children) == self.born
        for cell, child in before.children.items():
            assert not child.state.ended or seen.children[cell] == child
        assert set(seen.fences()) <= {*before.fences(), *self.fences}
        for key, most in limits.items():
            assert seen.depth(key) <= max(before.depth(key), most.queue_capacity)
        within_limits(before, seen, lanes, limits)


def within_limits(
    before: Rows, after: Rows, lanes: Mapping[int, int], limits: Mapping[int, Limits]
) -> None:
    """Where more runs than before, it is no more than the limits allow."""
    was, now = before.by_lane(RUNNING), after.by_lane(RUNNING)
    assert [lane for lane in now if now[lane] > max(was[lane], lanes.get(lane, 0))] == []
    was, now = before.by_key(RUNNING), after.by_key(RUNNING)
    assert [key for key in now if now[key] > max(was[key], limits[key].concurrency)] == []


def consistent(seen: Rows) -> None:
    """A parent has all its children or none, counts their ends, and ends with the last."""
    by_parent: dict[UUID, list[ChildState]] = {parent: [] for parent in seen.parents}
    for (parent, _), child in seen.children.items():
        by_parent[parent].append(child.state)
    for parent, row in seen.parents.items():
        states = by_parent[parent]
        assert len(states) == (0 if row.state is ParentState.QUEUED else len(row.lanes))
        ends = Counter(state for state in states if state.ended)
        assert (row.done, row.failed) == (ends.total(), ends[ChildState.FAILED])
        assert row.state.ended == (row.done == len(row.lanes))
        if row.state.ended:
            completed = ends[ChildState.COMPLETED]
            end = rollup.end(completed=completed, failed=row.failed, canceled=0, expired=0)
            assert row.state is end


def ended_once(before: Mapping[UUID, datetime], seen: Seen, told: Counter[UUID]) -> None:
    """An end has one moment, which stays, and one caller who was told."""
    ended = {parent for parent, row in seen.parents.items() if row.state.ended}
    assert seen.finished.keys() == ended
    assert before.items() <= seen.finished.items()
    assert told == Counter(ended)


def snapshot(taken: Snapshot, key: Key, rows: Rows, lanes: Sequence[LaneRow]) -> None:
    """Its equations, and each number against the rows."""
    flight = taken.inflight
    equations(taken)
    queue = rows.queue(key.id)
    waiting = Counter(lane for parent in queue for lane in parent.lanes)
    mine = [child for child in rows.children.values() if child.key == key.id]
    live = waiting + Counter(child.lane for child in mine if not child.state.ended)
    queued = sum(child.state in WAITING for child in mine)
    running = sum(child.state is RUNNING for child in mine)
    assert (flight.waiting, flight.queued, flight.processing) == (waiting.total(), queued, running)
    surfaces, countries = Counter[str](), Counter[str]()
    for lane in lanes:
        surfaces[lane.surface] += live[lane.id]
        countries[lane.country] += live[lane.id]
    assert (flight.by_surface, flight.by_region) == (+surfaces, +countries)
    priorities = Counter[int]()
    for parent in queue:
        priorities[parent.priority] += len(parent.lanes)
    for (parent, _), child in rows.children.items():
        if child.key == key.id and child.state in WAITING:
            priorities[rows.parents[parent].priority] += 1
    told = {level.priority: level.count for level in taken.priority_breakdown}
    assert told == +priorities
    assert taken.admission_queue.depth == len(queue)
    assert taken.admission_queue.capacity == key.limits.queue_capacity
    assert taken.concurrency.used == running


def equations(taken: Snapshot) -> None:
    """The sums that hold in every snapshot, whatever happens meanwhile."""
    flight, queue = taken.inflight, taken.admission_queue
    sums = sum(flight.by_surface.values()), sum(flight.by_region.values())
    assert sums == (flight.total, flight.total)
    assert flight.total == flight.waiting + flight.queued + flight.processing
    assert taken.queued_tasks == flight.waiting + flight.queued
    assert taken.queued_tasks == sum(level.count for level in taken.priority_breakdown)
    assert taken.processing_tasks == flight.processing
    assert queue.depth == queue.waiting + queue.reserved
    assert taken.headroom.asynchronous == max(0, queue.capacity - queue.depth)
