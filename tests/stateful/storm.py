"""Things done at the same moment, and what must be true after them in whatever order they came."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from admission.limits import Limits
from orchestrator.domain import lanes as domain
from orchestrator.store.children import Fence, Outcome, Settled
from orchestrator.submission import Accepted, Replayed
from tests.stateful.checks import Seen, conserved, within_admission, within_limits
from tests.stateful.deciding import Asked, Held
from tests.stateful.lanes import Lane
from tests.stateful.moments import Taken
from tests.stateful.records import CallerRow, Cell

Canceled = tuple[UUID, int | None]
"""A parent or one of its cells."""


@dataclass(kw_only=True)
class Storm:
    """What was there before, and what was told meanwhile."""

    before: Seen
    dead: set[int]
    steered: bool
    came: list[UUID] = field(default_factory=list)
    joined: dict[int, CallerRow] = field(default_factory=dict)
    left: set[int] = field(default_factory=set)
    born: int = 0
    fences: list[Fence] = field(default_factory=list)
    claims: list[tuple[Cell, frozenset[Canceled], frozenset[int]]] = field(default_factory=list)
    canceled: set[Canceled] = field(default_factory=set)
    retried: Counter[UUID] = field(default_factory=Counter)
    acted: bool = False
    erased: list[UUID] = field(default_factory=list)
    old: set[UUID] = field(default_factory=set)
    pruned: int = 0
    missed: set[UUID] = field(default_factory=set)
    ended: list[UUID] = field(default_factory=list)
    paused: set[int] = field(default_factory=set)
    resumed: set[int] = field(default_factory=set)
    taught: set[int] = field(default_factory=set)
    clock: float = 0.0

    def __post_init__(self) -> None:
        self.paused = {n for n, lane in self.before.lanes.items() if lane.paused}

    def admit(self, one: Asked) -> None:
        told, caller = one.told, one.caller
        waits = isinstance(told, Accepted | Held) or (isinstance(told, Replayed) and told.waits)
        if caller and waits:
            self.joined[caller.id] = CallerRow(one.key.id, told.parent, caller.node)
        if isinstance(told, Held):
            known = told.parent in {*self.came, *self.before.parents}
            self.came += [] if known else [told.parent]
        self.came += [told.parent] if isinstance(told, Accepted) else []

    def claim(self, taken: Taken, canceled: frozenset[Canceled], paused: frozenset[int]) -> None:
        """What a claim gave out that began when these cancels and pauses had been answered."""
        self.clock = max(self.clock, taken.ended)
        for child in taken.claimed:
            self.fences.append(Fence(*child[:2], taken.token))
            self.claims.append((child[:2], canceled, paused))

    def settle(self, outcomes: Sequence[Outcome], answer: Settled) -> None:
        distinct = len({outcome.fence for outcome in outcomes})
        assert answer.children <= distinct
        self.ended += answer.parents
        cells = {outcome.fence[:2] for outcome in outcomes}
        self.taught |= {self.before.children[cell].lane for cell in cells}

    def judge(self, seen: Seen, limits: Mapping[int, Limits]) -> None:
        before = self.before
        assert len(self.came) == len(set(self.came))
        assert len(self.erased) == len(set(self.erased))
        pruned = self.old - seen.parents.keys() - set(self.erased)
        assert len(pruned) == self.pruned
        gone = {*self.erased, *pruned}
        assert self.missed <= gone
        stayed = before.parents.keys() - gone
        assert seen.parents.keys() == stayed | set(self.came)
        for parent in stayed:
            self._judge_run(parent, seen)
        if not self.steered:
            assert self.born == self._left_queue(seen)
        assert set(seen.fences()) <= {*before.fences(), *self.fences}
        conserved(before, seen)
        within_admission(before, seen, limits)
        within_limits(before, seen, {n: self._bound(n, seen) for n in seen.lanes}, limits)
        self._judge_lanes(seen)

    def _bound(self, n: int, seen: Seen) -> Lane:
        """What the lane let run at any moment, at most."""
        lane = self.before.lanes.get(n)
        if lane is None:
            concurrency = seen.lanes[n].learned.concurrency
            return seen.lanes[n]._replace(
                learned=domain.Lane(concurrency=concurrency), paused=False
            )
        if n not in self.taught:
            return lane
        free = domain.Lane(concurrency=lane.learned.concurrency)
        paused = lane.paused and n not in self.resumed
        return lane._replace(learned=free, paused=paused)

    def _judge_lanes(self, seen: Seen) -> None:
        """What nobody spoke of is as it was; nothing started in a pause, nor without a token."""
        before, started = self.before.lanes, Counter[int]()
        for cell, _, paused in self.claims:
            row = seen.children.get(cell) or self.before.children[cell]
            assert row.lane not in paused - self.resumed
            started[row.lane] += 1
        for n in before.keys() - self.taught:
            assert seen.lanes[n]._replace(bucket=before[n].bucket) == before[n]
        assert [n for n in before if started[n] > before[n].tokens(self.clock)] == []

    def _judge_run(self, parent: UUID, seen: Seen) -> None:
        """The next run begins as often as somebody was told so; in the same, an end is an end."""
        before, after = self.before.parents[parent], seen.parents[parent]
        again = after.run - before.run
        assert again == self.retried[parent] or (self.acted and again == self.retried[parent] + 1)
        if again:
            return
        for (one, ordinal), child in self.before.children.items():
            over = child.state.ended and not (before.state.waiting and ordinal in before.ordinals)
            assert one != parent or not over or seen.children[parent, ordinal] == child
        for cell, canceled, _ in self.claims:
            assert cell[0] != parent or canceled.isdisjoint({cell, (parent, None)})

    def _left_queue(self, seen: Seen) -> int:
        """How many cells of parents that waited do no more."""
        waited = {n: row for n, row in self.before.parents.items() if row.state.waiting}
        waited |= {n: seen.parents[n] for n in self.came if not seen.parents[n].sync}
        left = [row for n, row in waited.items() if not seen.parents[n].state.waiting]
        return sum(len(row.ordinals) for row in left)

    def judge_callers(self, waiting: Mapping[int, CallerRow], seen: Seen) -> None:
        """Those who did not go still wait, but perhaps for those held by a dead node."""
        assert seen.callers.items() <= waiting.items()
        lost = waiting.keys() - seen.callers.keys()
        assert {waiting[caller].node for caller in lost} <= self.dead

    def judge_ends(self, told: Counter[UUID], seen: Seen) -> Counter[UUID]:
        """Nobody was told twice; whoever steers is not told, so what they ended is added."""
        told = told + Counter(self.ended)
        ends = Counter({n: row.run - (not row.state.ended) for n, row in seen.parents.items()})
        twice = {n for n in ends if told[n] > ends[n]}
        untold = {n for n in ends if told[n] < ends[n]}
        assert not twice
        assert self.steered or not untold
        return +ends
