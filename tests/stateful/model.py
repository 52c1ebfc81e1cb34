"""What must be true, in plain Python: what each event makes of the rows, without a database.

Who is chosen (which parent leaves its queue, which child is claimed) is the database's affair; what
follows from the choice is said here, so that after each step the rows can be compared as a whole.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from orchestrator.domain import rollup
from orchestrator.domain.states import ChildState, ParentState
from orchestrator.store.children import Claimed, Completed, Failed, GivenBack, Outcome, Retry
from orchestrator.store.children.rescue import LOST_LIMIT
from orchestrator.store.children.settle import STRIKES
from tests.stateful.rows import SYNC_FIRST, Breaker, CallerRow, Cell, ChildRow, ParentRow, Rows


@dataclass(kw_only=True)
class Model(Rows):
    """Rows that change as the database's must."""

    def admit(self, parent: UUID, row: ParentRow) -> None:
        assert parent not in self.parents
        self.parents[parent] = row
        if row.sync:
            self.fan_out(parent)

    def wait(self, caller: int, row: CallerRow) -> None:
        assert caller not in self.callers
        self.callers[caller] = row

    def leave(self, callers: Iterable[int]) -> None:
        """A parent whose last caller leaves is detached."""
        left = {self.callers.pop(caller).parent for caller in callers if caller in self.callers}
        for parent in left:
            row = self.parents[parent]
            if row.mode == "sync" and not row.state.ended and not self.waited_for(parent):
                self.parents[parent] = row._replace(mode="detached")

    def fan_out(self, parent: UUID) -> int:
        """The parent goes to work; how many children that makes."""
        row = self.parents[parent]
        assert row.state is ParentState.QUEUED
        self.parents[parent] = row._replace(state=ParentState.PROCESSING)
        priority = row.priority + SYNC_FIRST * row.sync
        for ordinal, lane in enumerate(row.lanes, 1):
            assert (parent, ordinal) not in self.children
            self.children[parent, ordinal] = ChildRow(row.key, lane, priority)
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
        ended: set[UUID] = set()
        counted: list[tuple[int, Outcome]] = []
        for outcome in outcomes:
            parent, ordinal, claim = outcome.fence
            row = self.children.get((parent, ordinal))
            if row is None or row.claim != claim:
                continue
            counted.append((row.lane, outcome))
            self.children[parent, ordinal] = settled = _settled(row, outcome)
            if settled.state.ended and self._ended(parent, settled.state):
                ended.add(parent)
        self._strike(counted)
        return len(counted), ended

    def _strike(self, outcomes: Sequence[tuple[int, Outcome]]) -> None:
        """Failures in a row open a breaker; a child that came home closes it."""
        healthy = {lane for lane, outcome in outcomes if isinstance(outcome, Completed)}
        failures = Counter(lane for lane, one in outcomes if isinstance(one, Retry | Failed))
        for lane in healthy:
            self.breakers.pop(lane, None)
        for lane in failures.keys() - healthy:
            before = self.breakers.get(lane, Breaker())
            if before.state == "closed":
                now = min(STRIKES, before.failures + failures[lane])
                self.breakers[lane] = Breaker(now, "open" if now == STRIKES else "closed")
            elif before.state == "half open":
                self.breakers[lane] = Breaker(before.failures + 1, "open")

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
