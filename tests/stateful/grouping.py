"""Groups: what they have, and what is asked of all of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import rule

from admission.keys import Key
from orchestrator.domain.states import ParentState
from orchestrator.store import groups
from tests.stateful import looking
from tests.stateful.orders import OfGroup
from tests.stateful.records import ParentRow
from tests.stateful.steering import Steering
from tests.stateful.strategies import GROUPS, indexes, pick, some_ends

NAMED = "SELECT id, key_id, name FROM parent_group"
LATEST = "SELECT max(id) FROM group_action"
UNFINISHED = "SELECT id, working, reached FROM group_action WHERE finished_at IS NULL"
DUE = "UPDATE group_action SET retry_at = now() WHERE finished_at IS NULL"
# However slow this run, what found no room is tried again by a rule only.
NOT_DUE = """
UPDATE group_action SET retry_at = now() + interval '1 day'
WHERE finished_at IS NULL AND retry_at > now()
"""
likely = st.sampled_from([True, True, True, False])
kinds = st.sampled_from(["cancel", "retry"])


@dataclass
class Action:
    """A request on parents, and how far it has come; a retry is for the runs there were."""

    id: int
    of: tuple[int, str]
    kind: Literal["cancel", "retry"]
    statuses: Sequence[str]
    runs: dict[UUID, int]
    working: bool = False
    reached: UUID | None = None

    def called_off(self, key: int, group: str) -> bool:
        """Whether a cancel of this group leaves it undone."""
        return self.kind == "retry" and self.of == (key, group)

    def over(self, rows: dict[UUID, ParentRow]) -> list[UUID]:
        """The parents it is still for: ended in the run it is for, in their order."""
        return [
            parent
            for parent, run in sorted(self.runs.items())
            if (self.reached is None or parent > self.reached)
            and parent in rows
            and (rows[parent].run, rows[parent].state.ended) == (run, True)
            and rows[parent].state is not ParentState.COMPLETED
        ]


class Grouping(Steering):
    """Many parents under one name."""

    def __init__(self, world) -> None:
        super().__init__(world)
        self.actions: list[Action] = []

    def members(self, key: int, group: str) -> dict[UUID, ParentRow]:
        rows = self.rows.parents.items()
        return {parent: row for parent, row in rows if (row.key, row.group) == (key, group)}

    @rule(index=indexes, kind=kinds, ends=some_ends, now=st.booleans(), known=likely)
    def ask_of_group(self, index, kind, ends, now, known) -> None:
        """Stored, and told how many it is for; what comes later it is not for."""
        named = {(row.key, row.group) for row in self.rows.parents.values() if row.group}
        every = {(key.id, group) for key in self.keys for group in GROUPS}
        place, group = pick(sorted(named if known and named else every), index)
        key = next(key for key in self.keys if key.id == place)
        members = self.members(key.id, group)
        matched = self.world.run(self.world.steer(OfGroup(key, group, kind, ends)))
        if not members:
            assert matched is None
            return
        live = {n: row.run for n, row in members.items() if not row.state.ended}
        ended = {n: row.run for n, row in members.items() if row.state.ended}
        assert matched == (len(live) if kind == "cancel" else _retried(members, ends))
        ((latest,),) = self.bare(looking.rows, LATEST)
        runs = members if kind == "cancel" else ended
        runs = {parent: members[parent].run for parent in runs}
        if kind == "cancel":
            self.actions = [one for one in self.actions if not one.called_off(place, group)]
        self.actions.append(Action(latest, (place, group), kind, ends, runs))
        if now:
            self.carry_on()

    @rule()
    def carry_on(self) -> None:
        """All that was asked of groups is done, but for what there is no room or credit for.

        One after the other, and once more from the first whatever takes two turns.
        """
        self.world.execute(DUE)
        while self.world.run(self.world.act()):
            self.world.execute(NOT_DUE)
        ended: list[UUID] = []
        for kinds in (("cancel", "retry"), ("cancel",)):
            tried = [action for action in self.actions if action.kind in kinds]
            over = [action.id for action in tried if self.carried_out(action, ended)]
            self.actions = [action for action in self.actions if action.id not in over]
        self.end(ended)  # once all is said that was done: callers may have been answered long ago
        left = {row[0] for row in self.bare(looking.rows, UNFINISHED)}
        assert left == {action.id for action in self.actions}

    def carried_out(self, action: Action, ended: list[UUID]) -> bool:
        """Whether it is done for good; what ends by it is added to `ended`."""
        if action.kind == "cancel":
            return self.cancel_some(action, ended)
        for parent in action.over(self.rows.parents):
            key, todo = self.owner(parent), self.rows.retryable(parent, action.statuses)
            if isinstance(todo, list) and not self.admits(key, self.rows.cost(parent, todo)):
                return False
            if isinstance(todo, list):
                self.rows.again(parent, todo)
            action.reached = parent
        return True

    def admits(self, key: Key, cost: int) -> bool:
        """Whether there is a place for one more job, and so many credits."""
        return not self.rows.short(key.id, cost) and not self.rows.full(key.id, key.limits)

    def cancel_some(self, action: Action, ended: list[UUID]) -> bool:
        """Those that wait, or then those that work, which may free credits; whether that is all."""
        live = [parent for parent in self.rows.live() if parent in action.runs]
        parents, working = self.rows.parents, action.working
        some = [parent for parent in live if parents[parent].state.waiting != working]
        ended += self.rows.stop(some, "canceled", asked=True)
        action.working = True
        return working

    @rule()
    def count_groups(self) -> None:
        """Every group's counts are those of its parents and their cells."""
        for group, key, name in self.bare(looking.rows, NAMED):
            members = self.members(key, name)
            counted = self.on(groups.counted, group)
            parents = Counter(row.state.wire for row in members.values())
            assert +Counter(counted.parents) == parents
            states = Counter(state for parent in members for state in self.rows.states(parent))
            states["queued"] += states.pop("retrying", 0)
            assert +Counter(counted.cells) == +states

    def resume(self) -> None:
        """After things that happened at once: how far each request has come."""
        left = {row[0]: row[1:] for row in self.bare(looking.rows, UNFINISHED)}
        self.actions = [action for action in self.actions if action.id in left]
        for action in self.actions:
            action.working, action.reached = left[action.id]


def _retried(members: dict[UUID, ParentRow], ends: Sequence[str]) -> int:
    """How many have ended with a cell that ended so."""
    return sum(
        row.state.ended
        and row.state is not ParentState.COMPLETED
        and any(getattr(row, end) for end in ends)
        for row in members.values()
    )
