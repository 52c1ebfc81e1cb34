"""What is judged after each step: rows that agree with each other, ends, and limits."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from admission.limits import Limits
from orchestrator.domain.states import ChildState
from orchestrator.store.counters import Difference
from tests.stateful.ends import rolled
from tests.stateful.lanes import Lane
from tests.stateful.model import Model
from tests.stateful.records import SYNC_FIRST, Cell, ChildRow, ParentRow
from tests.stateful.rows import Rows

RUNNING = ChildState.PROCESSING
ROUNDING = 1e-6
ENDS = {"completed", "failed", "canceled", "expired"}
Ends = Mapping[tuple[UUID, int], datetime]
"""When a run of a parent ended."""


@dataclass(kw_only=True)
class Seen(Model):
    """Rows, when parents ended, and the counters that lie."""

    finished: dict[tuple[UUID, int], datetime] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)


def within_admission(before: Rows, after: Rows, limits: Mapping[int, Limits]) -> None:
    """Where a key has taken more than before, it is no more than its limits allow."""
    for key, most in limits.items():
        sync = most.sync_limit
        assert after.depth(key) <= max(before.depth(key), most.queue_capacity)
        assert after.sync_running(key, sync) <= max(before.sync_running(key, sync), sync)
        assert after.unfinished(key) <= max(before.unfinished(key), 2 * sync)


def paced(lane: Lane, after: Lane, n: int, clocks: tuple[float, float]) -> None:
    """So many started between these moments, each for a token, and there were as many.

    Once the first has taken its token a full bucket fills again.
    """
    began, ended = clocks
    assert n <= math.floor(lane.tokens(ended))
    assert began <= after.bucket.filled_at <= ended
    tokens, least = after.bucket.tokens, lane.tokens(began) - n
    most = least + lane.earned(began, after.bucket.filled_at)
    assert least - ROUNDING <= tokens <= most + ROUNDING
    assert tokens >= -ROUNDING


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
    """Each cell of a parent has its end or the row that will have it; the counts are theirs."""
    by_parent: dict[UUID, dict[int, ChildRow]] = {parent: {} for parent in seen.parents}
    for (parent, ordinal), child in seen.children.items():
        by_parent[parent][ordinal] = child
    for parent, row in seen.parents.items():
        _complete(row, by_parent[parent])
        _counted(row, Counter(state for state in seen.states(parent) if state in ENDS))
        live = [child for child in by_parent[parent].values() if not child.state.ended]
        assert {child.priority - row.priority for child in live} <= {SYNC_FIRST * row.sync}
        assert all(child.stop is None or child.state is RUNNING for child in live)
        assert not row.stop or all(child.stop for child in live)


def _complete(row: ParentRow, children: Mapping[int, ChildRow]) -> None:
    """A parent that waits has rows of all cells but those to run, one that works of all cells.

    Of those that ended unstarted some have none; what they ended as their parent says.
    """
    every = set(range(1, len(row.lanes) + 1))
    if row.state.waiting:
        over = every.difference(row.ordinals)
        assert over <= children.keys()
        assert all(children[ordinal].state.ended for ordinal in over)
        assert row.todo is not None or not children
    else:
        assert children.keys() == every or (row.state.ended and row.stop)


def _counted(row: ParentRow, ends: Counter[str]) -> None:
    """It ends with its last cell."""
    assert row.done == ends.total()
    counted = {"completed": row.completed, "failed": row.failed}
    assert +Counter(counted | {"canceled": row.canceled, "expired": row.expired}) == ends
    assert row.state.ended == (row.done == len(row.lanes))
    assert not row.state.ended or row.state is rolled(row)


def attended(seen: Rows) -> None:
    """What is to be answered has somebody waiting; a name stands for one parent."""
    waited_for = {caller.parent for caller in seen.callers.values()}
    for parent, row in seen.parents.items():
        assert row.mode != "sync" or row.state.ended or parent in waited_for
        assert (row.name is None) == (row.payload is None)
    names = Counter((row.key, row.name) for row in seen.parents.values() if row.name)
    assert [name for name, n in names.items() if n > 1] == []


def accounted(seen: Rows) -> None:
    """Nobody has less than nothing; a job is charged what its cells show, of what it took."""
    assert {key: free for key, free in seen.free.items() if free is not None and free < 0} == {}
    charged, shown = Counter[UUID](), Counter[UUID]()
    for (parent, ordinal), child in seen.children.items():
        charged[parent] += child.charged
        shown[parent] += seen.cost(parent, [ordinal]) if child.shows else 0
    for parent, row in seen.parents.items():
        assert row.charged == charged[parent] == shown[parent]
        assert row.charged <= row.estimated


def conserved(before: Rows, after: Rows) -> None:
    """Whatever happened between these two, but for an operator: no credit came or went."""
    assert after.free.keys() == before.free.keys()
    for key, free in before.free.items():
        assert after.charged[key] >= before.charged[key]
        assert (after.free[key] is None) == (free is None)
        assert free is None or after.worth(key) == before.worth(key)


def ended_once(before: Ends, seen: Seen, told: Counter[UUID]) -> None:
    """Each run has one end, which has one moment, which stays, and one caller who was told."""
    ended = {(n, row.run) for n, row in seen.parents.items() if row.state.ended}
    assert seen.finished.keys() == ended
    assert all(seen.finished[end] == at for end, at in before.items() if end in ended)
    runs = {n: row.run - (not row.state.ended) for n, row in seen.parents.items()}
    assert {n: told[n] for n in runs} == runs


def best_first(before: Rows, claimed: Sequence[Cell]) -> None:
    """But for each tenth of a key's async ones, which is its oldest."""
    left = [cell for cell in before.cells(ChildState.QUEUED) if cell not in claimed]
    by_key: dict[int, list[Cell]] = {}
    for cell in claimed:
        by_key.setdefault(before.children[cell].key, []).append(cell)
    for own in by_key.values():
        aged = [cell for cell in own if any(_before(before, one, cell) for one in left)]
        assert len(aged) <= 1 + len(own) // 10
        for cell in aged:
            assert not before.children[cell].sync
            assert not any(one < cell for one in left if _alike(before, one, cell))


def _before(rows: Rows, one: Cell, other: Cell) -> bool:
    """Whether one of two children that are alike starts first."""
    first, second = rows.children[one], rows.children[other]
    return _alike(rows, one, other) and (-first.priority, one) < (-second.priority, other)


def _alike(rows: Rows, one: Cell, other: Cell) -> bool:
    first, second = rows.children[one], rows.children[other]
    return (first.key, first.lane, first.sync) == (second.key, second.lane, second.sync)
