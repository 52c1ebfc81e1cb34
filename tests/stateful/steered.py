"""What steering makes of the rows: cancels, deadlines, early ends, retries, erasure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from admission.limits import Limits
from orchestrator.domain.states import ChildState, ParentState
from orchestrator.store.steering import (
    RETRYABLE,
    Canceled,
    Erased,
    NotCancelable,
    NotEnded,
    NotRetryable,
)
from tests.stateful.ends import rolled, stopped, unstarted
from tests.stateful.records import ChildRow, ParentRow
from tests.stateful.rows import Rows

RUNNING = ChildState.PROCESSING


@dataclass(kw_only=True)
class Steered(Rows):
    """Rows that do as they are told. What ends a parent returns those that ended."""

    def stop(
        self, parents: Iterable[UUID], end: str, *, asked: bool, ordinal: int | None = None
    ) -> set[UUID]:
        """What has not started ends so; what runs will; with an ordinal only that cell."""
        ended = set()
        for parent in parents:
            waits = self.parents[parent].state.waiting
            ends = (
                self._stop_waiting(parent, end, asked=asked)
                if waits
                else self._stop_working(parent, end, asked=asked, ordinal=ordinal)
            )
            if ordinal is None:
                row = self.parents[parent]
                now = row._replace(stop=row.stop or end, asked=row.asked or asked)
                self.parents[parent] = now
            if self.roll(parent, ends):
                ended.add(parent)
        return ended

    def _stop_waiting(self, parent: UUID, end: str, *, asked: bool) -> Counter[str]:
        """Its cells need no row to end; what they have of a run before is forgotten."""
        row = self.parents[parent]
        for ordinal in row.ordinals:
            if before := self.children.get((parent, ordinal)):
                self.children[parent, ordinal] = unstarted(before, end, asked=asked)
        return Counter({end: len(row.ordinals)})

    def _stop_working(
        self, parent: UUID, end: str, *, asked: bool, ordinal: int | None
    ) -> Counter[str]:
        ends: Counter[str] = Counter()
        for cell, child in self.children.items():
            if cell[0] != parent or child.state.ended or ordinal not in {None, cell[1]}:
                continue
            stop = child.stop or end
            told = child._replace(stop=stop, asked=child.asked or asked)
            if child.state is not RUNNING:
                told = stopped(told, stop)
                ends[stop] += 1
                self.tell(*cell, stop)
            self.children[cell] = told
        return ends

    def roll(self, parent: UUID, ends: Counter[str]) -> bool:
        """So many more of its cells ended so; whether it ends with the last of them."""
        row = self.parents[parent]
        if not ends.total():
            return False
        row = row._replace(
            done=row.done + ends.total(),
            failed=row.failed + ends["failed"],
            canceled=row.canceled + ends["canceled"],
            expired=row.expired + ends["expired"],
        )
        last = row.done == len(row.lanes)
        self.parents[parent] = row._replace(state=rolled(row)) if last else row
        if last:
            self.take(row.key, -row.held)
            self.tell(parent, 0, rolled(row))
        return last

    def cancel(
        self, parent: UUID, ordinal: int | None
    ) -> tuple[Canceled | NotCancelable, set[UUID]]:
        """Of a parent, or of one of its cells; what is told, and whether the parent ended."""
        row = self.parents[parent]
        if ordinal is not None:
            return self._cancel_cell(parent, ordinal)
        if row.state.ended:
            return (Canceled() if row.asked else NotCancelable()), set()
        return Canceled(), self.stop([parent], "canceled", asked=True)

    def _cancel_cell(
        self, parent: UUID, ordinal: int
    ) -> tuple[Canceled | NotCancelable, set[UUID]]:
        row, child = self.parents[parent], self.children.get((parent, ordinal))
        if row.state.waiting and ordinal in row.ordinals:
            fresh = child or ChildRow(row.key, row.lanes[ordinal - 1], row.priority)
            self.children[parent, ordinal] = unstarted(fresh, "canceled", asked=True)
            self.tell(parent, ordinal, "canceled")
            left = tuple(other for other in row.ordinals if other != ordinal)
            stop = None if left else "canceled"
            self.parents[parent] = row._replace(todo=left, stop=stop)
            ended = self.roll(parent, Counter({"canceled": 1}))
            return Canceled(), {parent} if ended else set()
        if child is not None and not child.state.ended:
            return Canceled(), self.stop([parent], "canceled", asked=True, ordinal=ordinal)
        asked = child.asked if child else row.asked
        return (Canceled() if asked else NotCancelable()), set()

    def clear(self, key: int) -> set[UUID]:
        """All of a key that has not started is canceled; those that ended are all of them."""
        unstarted = [
            parent
            for parent, row in self.parents.items()
            if row.key == key and (row.state.waiting or self._unstarted(parent, row))
        ]
        ended = self.stop(unstarted, "canceled", asked=True)
        assert ended == set(unstarted)
        return ended

    def _unstarted(self, parent: UUID, row: ParentRow) -> bool:
        if row.state is not ParentState.PROCESSING or row.mode != "async" or row.stop:
            return False
        return not any(child.started for cell, child in self.children.items() if cell[0] == parent)

    def expire(self) -> tuple[int, set[UUID]]:
        """Whatever is overdue and not told to stop yet; how many, and those that ended by it."""
        late = [n for n in self.live() if self.parents[n].overdue and not self.parents[n].stop]
        return len(late), self.stop(late, "expired", asked=False)

    def release(self) -> int:
        """Those whose delay is over may leave the queue; how many."""
        late = [
            parent
            for parent, row in self.parents.items()
            if row.state is ParentState.DELAYED and row.due
        ]
        for parent in late:
            self.parents[parent] = self.parents[parent]._replace(state=ParentState.QUEUED)
        return len(late)

    def retryable(
        self, parent: UUID, statuses: Sequence[str] = RETRYABLE, ordinal: int | None = None
    ) -> list[int] | NotRetryable:
        """The cells that may run again."""
        state = self.parents[parent].state
        if not state.ended or state is ParentState.COMPLETED:
            return NotRetryable(state.ended)
        ends = enumerate(self.states(parent), 1)
        todo = [n for n, end in ends if end in statuses and ordinal in {None, n}]
        return todo or NotRetryable(ended=True)

    def full(self, key: int, limits: Limits) -> bool:
        return self.depth(key) >= limits.queue_capacity

    def again(self, parent: UUID, todo: Sequence[int]) -> None:
        """The next run, of these cells. The others keep their ends, and now have rows of them."""
        row, states = self.parents[parent], self.states(parent)
        ends = Counter(states[ordinal - 1] for ordinal in todo)
        for ordinal, end in enumerate(states, 1):
            if ordinal not in todo and (parent, ordinal) not in self.children:
                fresh = ChildRow(row.key, row.lanes[ordinal - 1], row.priority)
                self.children[parent, ordinal] = unstarted(fresh, end, asked=row.asked)
        cost = self.cost(parent, todo)
        self.take(row.key, cost)
        self.parents[parent] = row._replace(
            state=ParentState.QUEUED,
            mode="async",
            run=row.run + 1,
            estimated=row.charged + cost,
            todo=tuple(todo),
            done=row.done - len(todo),
            failed=row.failed - ends["failed"],
            canceled=row.canceled - ends["canceled"],
            expired=row.expired - ends["expired"],
            stop=None,
            asked=False,
            due=False,
            overdue=False,
        )

    def erase(self, parent: UUID) -> Erased | NotEnded:
        if not self.parents[parent].state.ended:
            return NotEnded()
        del self.parents[parent]
        self.children = {cell: row for cell, row in self.children.items() if cell[0] != parent}
        self.told = {event: end for event, end in self.told.items() if event[0] != parent}
        return Erased()
