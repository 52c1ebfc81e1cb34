"""What must be true, in plain Python: parents and children as rows, without a database.

Who is chosen (which parent leaves its queue, which child is claimed) is the database's affair; what
follows from the choice is said here, so that after each step the rows can be compared as a whole.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from admission.limits import Limits
from orchestrator.domain import rollup
from orchestrator.domain.states import ChildState, ParentState
from orchestrator.store.children import Claimed, Completed, Failed, Fence, GivenBack, Outcome, Retry
from orchestrator.store.children.rescue import LOST_LIMIT

Cell = tuple[UUID, int]


class ParentRow(NamedTuple):
    key: int
    lanes: tuple[int, ...]
    priority: int
    state: ParentState = ParentState.QUEUED
    done: int = 0
    failed: int = 0
    run: int = 1


class ChildRow(NamedTuple):
    key: int
    lane: int
    state: ChildState = ChildState.QUEUED
    attempt: int = 0
    lost: int = 0
    claim: int | None = None
    node: int | None = None
    logged: int = 0
    capture: str | None = None
    error: str | None = None
    due: bool = False


@dataclass(kw_only=True)
class Rows:
    """All parents and children of a moment, modelled or read."""

    parents: dict[UUID, ParentRow] = field(default_factory=dict)
    children: dict[Cell, ChildRow] = field(default_factory=dict)

    def fences(self) -> list[Fence]:
        """What the owners of running children hold."""
        running = sorted(
            (cell, child.claim) for cell, child in self.children.items() if child.claim is not None
        )
        return [Fence(*cell, claim) for cell, claim in running]

    def depth(self, key: int) -> int:
        return sum(
            parent.key == key and parent.state is ParentState.QUEUED
            for parent in self.parents.values()
        )

    def queue(self, key: int) -> list[ParentRow]:
        return [p for p in self.parents.values() if p.key == key and p.state is ParentState.QUEUED]

    def by_lane(self, *states: ChildState) -> Counter[int]:
        return Counter(child.lane for child in self.children.values() if child.state in states)

    def by_key(self, *states: ChildState) -> Counter[int]:
        return Counter(child.key for child in self.children.values() if child.state in states)

    def cells(self, *states: ChildState) -> list[Cell]:
        return sorted(cell for cell, child in self.children.items() if child.state in states)

    def live(self) -> list[UUID]:
        return [parent for parent, row in self.parents.items() if not row.state.ended]

    def admit(self, parent: UUID, row: ParentRow) -> None:
        self.parents[parent] = row

    def fan_out(self, parent: UUID) -> int:
        """The parent leaves its queue; how many children that makes."""
        row = self.parents[parent]
        assert row.state is ParentState.QUEUED
        self.parents[parent] = row._replace(state=ParentState.PROCESSING)
        for ordinal, lane in enumerate(row.lanes, 1):
            assert (parent, ordinal) not in self.children
            self.children[parent, ordinal] = ChildRow(row.key, lane)
        return len(row.lanes)

    def claim(self, node: int, token: int, claimed: Iterable[Claimed]) -> None:
        for child in claimed:
            cell = (child.parent_id, child.ordinal)
            row = self.children[cell]
            assert row.state is ChildState.QUEUED
            assert child[2:] == (row.attempt + 1, token)
            self.children[cell] = row._replace(
                state=ChildState.PROCESSING, attempt=row.attempt + 1, claim=token, node=node
            )

    def settle(self, outcomes: Sequence[Outcome]) -> tuple[int, set[UUID]]:
        """How many outcomes count (the first of a living fence), and the parents that end."""
        changed, ended = 0, set()
        for outcome in outcomes:
            parent, ordinal, claim = outcome.fence
            row = self.children.get((parent, ordinal))
            if row is None or row.claim != claim:
                continue
            changed += 1
            self.children[parent, ordinal] = settled = _settled(row, outcome)
            if settled.state.ended and self._ended(parent, settled.state):
                ended.add(parent)
        return changed, ended

    def stage(self, cells: Iterable[Cell]) -> None:
        for cell in cells:
            row = self.children[cell]
            assert row.state is ChildState.RETRYING
            assert row.due
            self.children[cell] = row._replace(state=ChildState.QUEUED, due=False)

    def rescue(self, cells: Iterable[Cell]) -> tuple[int, int, set[UUID]]:
        """Children queued again, children given up, parents ended."""
        queued, failed, ended = 0, 0, set()
        for cell in cells:
            row = self.children[cell]._replace(claim=None, node=None)
            if row.lost + 1 < LOST_LIMIT:
                queued += 1
                again = {"attempt": row.attempt - 1, "logged": row.logged + 1}
                changed = row._replace(state=ChildState.QUEUED, **again)
            else:
                failed += 1
                changed = row._replace(state=ChildState.FAILED, error="WORKER_LOST")
                if self._ended(cell[0], ChildState.FAILED):
                    ended.add(cell[0])
            self.children[cell] = changed._replace(lost=row.lost + 1)
        return queued, failed, ended

    def _ended(self, parent: UUID, how: ChildState) -> bool:
        row = self.parents[parent]
        row = row._replace(done=row.done + 1, failed=row.failed + (how is ChildState.FAILED))
        last = row.done == len(row.lanes)
        if last:
            completed = row.done - row.failed
            end = rollup.end(completed=completed, failed=row.failed, canceled=0, expired=0)
            row = row._replace(state=end)
        self.parents[parent] = row
        return last


def _settled(row: ChildRow, outcome: Outcome) -> ChildRow:
    row = row._replace(claim=None, node=None)
    match outcome:
        case Completed(_, capture, _):
            return row._replace(state=ChildState.COMPLETED, capture=capture)
        case Retry(_, _, delay, _):
            due = delay == 0
            return row._replace(state=ChildState.RETRYING, logged=row.logged + 1, due=due)
        case Failed(_, failure, _):
            return row._replace(state=ChildState.FAILED, error=failure.code)
        case GivenBack():
            return row._replace(state=ChildState.QUEUED, attempt=row.attempt - 1)


def may_leave(rows: Rows, key: int, limits: Limits, lanes: dict[int, int]) -> bool:
    """Whether some parent of this key has room to leave its queue for; `lanes` has their limits.

    An idle key may fill a lane to four times its limit, so that its first parent ever leaves.
    """
    waiting = ChildState.QUEUED, ChildState.RETRYING
    used = rows.by_key(*waiting, ChildState.PROCESSING)[key]
    load = rows.by_lane(*waiting)
    full = {lane for lane, limit in lanes.items() if load[lane] >= limit * (2 if used else 4)}
    room = used < 2 * limits.concurrency
    return room and any(full.isdisjoint(parent.lanes) for parent in rows.queue(key))


def may_start(rows: Rows, limits: dict[int, Limits], lanes: dict[int, int]) -> bool:
    """Whether some queued child has room in its lane (`lanes` has those served) and its key."""
    in_lane, of_key = (count(ChildState.PROCESSING) for count in (rows.by_lane, rows.by_key))
    return any(
        child.state is ChildState.QUEUED
        and in_lane[child.lane] < lanes.get(child.lane, 0)
        and of_key[child.key] < limits[child.key].concurrency
        for child in rows.children.values()
    )
