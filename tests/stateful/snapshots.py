"""A snapshot against its equations and against the rows."""

from collections import Counter

from admission.keys import Key
from orchestrator.domain.snapshot import HeldLane, Snapshot
from orchestrator.domain.states import ChildState
from orchestrator.domain.times import rfc3339
from tests.stateful.records import SYNC_FIRST
from tests.stateful.rows import Rows

RUNNING = ChildState.PROCESSING
WAITING = (ChildState.QUEUED, ChildState.RETRYING)


def true(taken: Snapshot, key: Key, rows: Rows) -> None:
    """Its equations, and each number against the rows."""
    equations(taken)
    queue, flight, limits = rows.waiting(key.id), taken.inflight, key.limits
    waiting = Counter(lane for parent in queue for lane in parent.ahead)
    mine = [child for child in rows.children.values() if child.key == key.id]
    live = waiting + Counter(child.lane for child in mine if not child.state.ended)
    queued = sum(child.state in WAITING for child in mine)
    running = sum(child.state is RUNNING for child in mine)
    assert (flight.waiting, flight.queued, flight.processing) == (waiting.total(), queued, running)
    surfaces, countries = Counter[str](), Counter[str]()
    for n, lane in rows.lanes.items():
        surfaces[lane.surface] += live[n]
        countries[lane.country] += live[n]
    assert (flight.by_surface, flight.by_region) == (+surfaces, +countries)
    told = {level.priority: level.count for level in taken.priority_breakdown}
    assert told == +_priorities(rows, key)
    told = taken.admission_queue
    assert (told.depth, told.waiting) == (rows.depth(key.id), len(queue))
    assert (told.reserved, told.capacity) == (rows.reserved(key.id), limits.queue_capacity)
    assert told.delayed == len(queue) - len(rows.queue(key.id))
    assert told.held == _held(rows, key)
    assert taken.concurrency.used == running
    assert taken.concurrency.max == limits.concurrency + limits.sync_limit
    sync = taken.sync_concurrency
    counted = rows.sync_running(key.id, limits.sync_limit)
    assert (sync.limit, sync.running) == (limits.sync_limit, counted)


def _held(rows: Rows, key: Key) -> tuple[HeldLane, ...]:
    """By lane, what keeps parents in the queue; one that several lanes keep counts at each."""
    kept = sorted((rows.lanes[n], parents) for n, parents in rows.held(key.id).items())
    return tuple(
        HeldLane(
            surface=lane.surface,
            region=lane.country,
            parents=parents,
            reason="lane_paused" if lane.paused else "breaker_open",
            until=rfc3339(lane.learned.open_until) if lane.barred and not lane.paused else None,
        )
        for lane, parents in kept
    )


def _priorities(rows: Rows, key: Key) -> Counter[int]:
    """Cells that wait, by the priority a client gave: what sync adds does not show."""
    priorities = Counter[int]()
    for parent in rows.waiting(key.id):
        priorities[parent.priority] += len(parent.ordinals)
    for child in rows.children.values():
        if child.key == key.id and child.state in WAITING:
            priorities[child.priority - SYNC_FIRST * child.sync] += 1
    return priorities


def equations(taken: Snapshot) -> None:
    """The sums that hold in every snapshot, whatever happens meanwhile."""
    flight, queue, sync = taken.inflight, taken.admission_queue, taken.sync_concurrency
    sums = sum(flight.by_surface.values()), sum(flight.by_region.values())
    assert sums == (flight.total, flight.total)
    assert flight.total == flight.waiting + flight.queued + flight.processing
    assert taken.queued_tasks == flight.waiting + flight.queued
    assert taken.queued_tasks == sum(level.count for level in taken.priority_breakdown)
    assert taken.processing_tasks == flight.processing == taken.concurrency.used
    assert queue.depth == queue.waiting + queue.reserved
    assert taken.headroom.asynchronous == max(0, queue.capacity - queue.depth)
    assert taken.headroom.sync == max(0, sync.limit - sync.running)
