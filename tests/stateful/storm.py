"""Things done at the same moment, and what must be true after them in whatever order they came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from admission.limits import Limits
from orchestrator.store.children import Fence, Outcome, Settled
from orchestrator.submission import Accepted, Replayed
from tests.stateful.checks import Seen, within_admission, within_limits
from tests.stateful.deciding import Asked, Held
from tests.stateful.rows import CallerRow, Lane


@dataclass(kw_only=True)
class Storm:
    """What was there before, and what was told meanwhile."""

    before: Seen
    dead: set[int]
    came: list[UUID] = field(default_factory=list)
    joined: dict[int, CallerRow] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)
    born: int = 0
    fences: list[Fence] = field(default_factory=list)
    ended: list[UUID] = field(default_factory=list)

    def admit(self, one: Asked) -> None:
        told, caller = one.told, one.caller
        waits = isinstance(told, Accepted | Held) or (isinstance(told, Replayed) and told.waits)
        if caller and waits:
            self.joined[caller.id] = CallerRow(one.key.id, told.parent, caller.node)
        if isinstance(told, Held):
            known = told.parent in {*self.came, *self.before.parents}
            self.came += [] if known else [told.parent]
        self.came += [told.parent] if isinstance(told, Accepted) else []

    def settle(self, outcomes: Sequence[Outcome], answer: Settled) -> None:
        distinct = len({outcome.fence for outcome in outcomes})
        assert answer.children <= distinct
        self.ended += answer.parents

    def judge(self, seen: Seen, lanes: Mapping[int, int], limits: Mapping[int, Limits]) -> None:
        before = self.before
        assert seen.parents.keys() - before.parents.keys() == set(self.came)
        assert len(self.came) == len(set(self.came))
        assert before.parents.keys() <= seen.parents.keys()
        at_once = [seen.parents[parent] for parent in self.came if seen.parents[parent].sync]
        born = self.born + sum(len(parent.lanes) for parent in at_once)
        assert len(seen.children) - len(before.children) == born
        for cell, child in before.children.items():
            assert not child.state.ended or seen.children[cell] == child
        assert set(seen.fences()) <= {*before.fences(), *self.fences}
        within_admission(before, seen, limits)
        any_lane = {n: Lane(limit) for n, limit in lanes.items()}
        within_limits(before, seen, any_lane, limits)

    def judge_callers(self, waiting: Mapping[int, CallerRow], seen: Seen) -> None:
        """Those who did not go still wait, but perhaps for those held by a dead node."""
        assert seen.callers.items() <= waiting.items()
        lost = waiting.keys() - seen.callers.keys()
        assert {waiting[caller].node for caller in lost} <= self.dead
