"""Outcomes: early, late, twice, of several nodes at once; and what lanes learn of them."""

from collections.abc import Sequence
from itertools import permutations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from orchestrator.store.children import Fence, Outcome
from tests.stateful import moments
from tests.stateful.checks import Seen
from tests.stateful.endings import endings, outcome
from tests.stateful.moments import Settled
from tests.stateful.operating import Operating
from tests.stateful.rows import Rows
from tests.stateful.strategies import gathered, indexes, pick

some_ends = st.lists(st.tuples(indexes, endings), min_size=1, max_size=8)


class Settling(Operating):
    """Nodes that settle, however late."""

    def outcome(self, fence: Fence, how: str) -> Outcome:
        return outcome(fence, how, self.rows.cost(fence.parent_id, [fence.ordinal]))

    @rule(some=some_ends, twice=st.booleans())
    def settle(self, some, twice) -> None:
        """Outcomes of running children, some doubled, perhaps all again by another connection."""
        if outcomes := self.of(self.rows.fences(), some):
            self.record(outcomes, twice=twice)

    @rule(how=endings)
    def settle_all(self, how) -> None:
        """Every running child ends, or is tried again, in one batch."""
        if fences := self.rows.fences():
            self.record([self.outcome(fence, how) for fence in fences], twice=False)

    @rule(some=some_ends)
    def settle_late(self, some) -> None:
        """Any fence ever given out: of a child claimed anew, ended, rescued or still running."""
        if outcomes := self.of(self.held, some):
            self.record(outcomes, twice=False)

    def of(self, fences: Sequence[Fence], some: Sequence[tuple[int, str]]) -> list[Outcome]:
        return [self.outcome(pick(fences, index), how) for index, how in some if fences]

    def record(self, outcomes: list[Outcome], *, twice: bool) -> None:
        times = [self.world.bare(moments.settle, outcomes) for _ in range(1 + twice)]
        settled = self.world.run(gathered(times))
        first = max(settled, key=lambda one: one.children)
        changed, ended = self.rows.settle(outcomes, first.at)
        self.pause()
        assert sum(one.children for one in settled) == changed
        assert {parent for one in settled for parent in one.parents} == ended
        self.end(parent for one in settled for parent in one.parents)

    @rule(
        hows=st.lists(st.lists(endings, min_size=1, max_size=2), min_size=2, max_size=3),
        siblings=st.booleans(),
    )
    def settle_at_once(self, hows, siblings) -> None:
        """Several nodes at the same moment: as if one after the other, each lane in some order."""
        work: list[list[Outcome]] = [[] for _ in hows]
        parents = sorted({fence.parent_id for fence in self.rows.fences()})
        for place, fence in enumerate(self.rows.fences()):
            share = (place if siblings else parents.index(fence.parent_id)) % len(hows)
            work[share].append(self.outcome(fence, pick(hows[share], place)))
        work = [some for some in work if some]
        settled = self.world.run(gathered(self.world.bare(moments.settle, one) for one in work))
        pairs, seen = [*zip(work, settled, strict=True)], self.look()
        ways = [_after(self.rows, order) for order in permutations(pairs)]
        for n, lane in seen.lanes.items():
            assert lane in [way.lanes[n] for way, _ in ways]
        self.rows = next(way for way, told in ways if told and _alike(way, seen))
        self.rows.lanes = seen.lanes
        self.pause()
        self.end(parent for one in settled for parent in one.parents)


def _after(rows: Seen, order: Sequence[tuple[list[Outcome], Settled]]) -> tuple[Seen, bool]:
    """The rows after these in this order, and whether they were told so."""
    rows, told = rows.copy(), True
    for outcomes, settled in order:
        changed, ended = rows.settle(outcomes, settled.at)
        told = told and (changed, ended) == (settled.children, set(settled.parents))
    return rows, told


def _alike(rows: Rows, seen: Rows) -> bool:
    return rows.parents == seen.parents and rows.children == seen.children
