"""What must be true, in plain Python: what each event makes of the rows, without a database.

Who is chosen (which parent leaves its queue, which child is claimed) is the database's affair; what
follows from the choice is said here, so that after each step the rows can be compared as a whole.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from orchestrator.domain.states import ChildState, ParentState
from orchestrator.store.children import (
    Claimed,
    Completed,
    Failed,
    Fence,
    GivenBack,
    Outcome,
    Retry,
)
from orchestrator.store.children.rescue import LOST_LIMIT
from tests.stateful.ends import stopped
from tests.stateful.records import SYNC_FIRST, CallerRow, Cell, ChildRow, ParentRow
from tests.stateful.steered import Steered
from tests.stateful.telling import Told, batches

CALLED_OFF = "canceled"
"""What becomes of the rest of a parent of which enough cells are completed."""


@dataclass(kw_only=True)
class Model(Steered):
    """Rows that change as the database's must."""

    def admit(self, parent: UUID, row: ParentRow) -> None:
        assert parent not in self.parents
        self.parents[parent] = row
        self.take(row.key, row.estimated)
        if row.sync:
            self.fan_out(parent)

    def wait(self, caller: int, row: CallerRow) -> None:
        assert caller not in self.callers
        self.callers[caller] = row

    def leave(self, callers: Iterable[int]) -> None:
        """A parent whose last caller leaves is detached."""
        left = {self.callers.pop(caller).parent for caller in callers if caller in self.callers}
        for parent in left & self.parents.keys():
            row = self.parents[parent]
            if row.mode == "sync" and not row.state.ended and not self.waited_for(parent):
                self.parents[parent] = row._replace(mode="detached")

    def fan_out(self, parent: UUID) -> int:
        """The parent goes to work; how many children that makes, or makes anew."""
        row = self.parents[parent]
        assert row.state is ParentState.QUEUED
        self.parents[parent] = row._replace(state=ParentState.PROCESSING)
        priority = row.priority + SYNC_FIRST * row.sync
        for ordinal, lane in zip(row.ordinals, row.ahead, strict=True):
            assert row.run > 1 or (parent, ordinal) not in self.children
            self.children[parent, ordinal] = ChildRow(row.key, lane, priority)
        return len(row.ordinals)

    def claim(self, node: int, token: int, claimed: Iterable[Claimed], at: datetime) -> None:
        for child in claimed:
            cell = (child.parent_id, child.ordinal)
            row = self.children[cell]
            assert row.state is ChildState.QUEUED
            assert row.stop is None
            assert (child.attempt, child.claim) == (row.attempt + 1, token)
            self.children[cell] = row._replace(
                state=ChildState.PROCESSING,
                attempt=row.attempt + 1,
                claim=token,
                node=node,
                claimed=at,
                started=True,
            )

    def settle(self, outcomes: Sequence[Outcome], now: datetime) -> tuple[int, set[UUID]]:
        """How many outcomes count (the first of a living fence), and the parents that end."""
        found = {outcome.fence: outcome for outcome in reversed(outcomes)}
        counted = {fence: one for fence, one in found.items() if self._holds(fence)}
        enough = self._enough(counted.values())
        ends = defaultdict[UUID, Counter[str]](Counter)
        spoken: list[Told] = []
        for (parent, ordinal, _), outcome in counted.items():
            child = self.children[parent, ordinal]
            spoken.append(Told(child.lane, child.claimed, outcome))
            settled = _settled(child, outcome, CALLED_OFF if parent in enough else None)
            self.children[parent, ordinal] = settled
            self._charge(parent, settled.charged)
            if settled.state.ended:
                ends[parent].update([settled.state])
                self.tell(parent, ordinal, settled.state)
        for parent in enough:
            for cell, child in self.children.items():
                if cell[0] == parent and not child.state.ended and not child.stop:
                    told = child._replace(stop=CALLED_OFF)
                    self.children[cell] = told if child.claim else stopped(told, CALLED_OFF)
                    if not child.claim:
                        ends[parent].update([CALLED_OFF])
                        self.tell(*cell, CALLED_OFF)
            row = self.parents[parent]
            self.parents[parent] = row._replace(stop=row.stop or CALLED_OFF)
        for lane, batch in batches(spoken, now).items():
            self.lanes[lane] = self.lanes[lane].told(batch, now)
        return len(counted), {parent for parent, n in ends.items() if self.roll(parent, n)}

    def _holds(self, fence: Fence) -> bool:
        child = self.children.get(fence[:2])
        return child is not None and child.claim == fence.claim

    def _enough(self, outcomes: Iterable[Outcome]) -> set[UUID]:
        """The parents that have all the completed cells they want with these."""
        home = Counter(one.fence.parent_id for one in outcomes if isinstance(one, Completed))
        rows = {parent: self.parents[parent] for parent in home}
        return {
            parent
            for parent, row in rows.items()
            if row.finish is not None and row.completed + home[parent] >= row.finish
        }

    def _charge(self, parent: UUID, more: int) -> None:
        row = self.parents[parent]
        self.parents[parent] = row._replace(charged=row.charged + more)
        self.charged[row.key] += more

    def stage(self, cells: Iterable[Cell]) -> None:
        for cell in cells:
            row = self.children[cell]
            assert row.state is ChildState.RETRYING
            assert row.due
            self.children[cell] = row._replace(state=ChildState.QUEUED, due=False)

    def rescue(self, cells: Iterable[Cell]) -> tuple[Counter[str], set[UUID]]:
        """How many children are queued again, given up or end as they were told; parents ended."""
        came: Counter[str] = Counter()
        ends = defaultdict[UUID, Counter[str]](Counter)
        for cell in cells:
            changed = _rescued(self.children[cell].released())
            self.children[cell] = changed
            came[changed.state] += 1
            if changed.state.ended:
                ends[cell[0]].update([changed.state])
                self.tell(*cell, changed.state)
        return came, {parent for parent, n in ends.items() if self.roll(parent, n)}


def _rescued(row: ChildRow) -> ChildRow:
    lost = row._replace(lost=row.lost + 1)
    if row.stop:
        return stopped(lost, row.stop)
    if lost.lost < LOST_LIMIT:
        again = {"attempt": row.attempt - 1, "logged": row.logged + 1}
        return lost._replace(state=ChildState.QUEUED, **again)
    return lost._replace(state=ChildState.FAILED, error="WORKER_LOST")


def _settled(row: ChildRow, outcome: Outcome, called_off: str | None) -> ChildRow:
    row = row.released()
    stop = row.stop or called_off
    match outcome:
        case Completed(_, capture, charge=charge):
            return row._replace(state=ChildState.COMPLETED, capture=capture, charged=charge)
        case Failed(_, failure):
            return row._replace(state=ChildState.FAILED, error=failure.code)
        case Retry() | GivenBack() if stop:
            return stopped(row, stop)
        case Retry(_, _, delay):
            due = delay == 0
            return row._replace(state=ChildState.RETRYING, logged=row.logged + 1, due=due)
        case GivenBack():
            return row._replace(state=ChildState.QUEUED, attempt=row.attempt - 1)
