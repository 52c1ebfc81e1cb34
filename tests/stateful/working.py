"""Claims, outcomes and deaths: what nodes do and what becomes of them."""

import secrets
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from orchestrator.domain.states import ChildState
from orchestrator.store import children, nodes
from orchestrator.store.children import Claimed, Fence, Outcome
from orchestrator.store.children.rescue import LOST_LIMIT
from tests.stateful import checks
from tests.stateful.admitting import Admitting
from tests.stateful.furnishing import Node
from tests.stateful.model import Cell, may_start
from tests.stateful.strategies import endings, gathered, indexes, outcome, pick

GROW_OLD = "UPDATE node SET heartbeat_at = now() - interval '11 seconds' WHERE id = %(id)s"
FORGET = "DELETE FROM node WHERE id = %(id)s"


class Working(Admitting):
    """Nodes that claim, settle late or twice, die and come back."""

    @rule(index=indexes, slots=st.sampled_from([12, 1, 4]))
    def claim(self, index, slots) -> None:
        """Never past a limit as it is now; never nothing where something may start."""
        node = pick(self.nodes, index)
        before, served = self.rows.copy(), node.new.surfaces
        most = {lane.id: lane.concurrency for lane in self.lanes() if lane.surface in served}
        claimed = self.claimed([self.claiming(node, slots)], most)
        assert len(claimed) <= slots
        assert bool(claimed) == may_start(before, self.limits, most)

    @rule(claims=st.lists(st.tuples(indexes, st.integers(1, 8)), min_size=2, max_size=4))
    def claim_at_once(self, claims) -> None:
        """Nor do several nodes together: each child has one owner, each limit holds."""
        most = {lane.id: lane.concurrency for lane in self.lanes()}
        self.claimed([self.claiming(pick(self.nodes, n), slots) for n, slots in claims], most)

    async def claiming(self, node: Node, slots: int) -> tuple[Node, int, list[Claimed]]:
        token, served = secrets.randbits(62), node.new.surfaces
        named = {"node": node.id, "token": token, "surfaces": served}
        return node, token, await self.world.bare(children.claim, slots=slots, **named)

    def claimed(self, claims: Sequence[Any], most: dict[int, int]) -> list[Cell]:
        before, cells = self.rows.copy(), []
        for node, token, claimed in self.world.run(gathered(claims)):
            self.rows.claim(node.id, token, claimed)
            self.held += [Fence(*child[:2], token) for child in claimed]
            cells += [child[:2] for child in claimed]
        assert all(self.rows.children[cell].lane in most for cell in cells)
        checks.within_limits(before, self.rows, most, self.limits)
        return cells

    @rule(some=st.lists(st.tuples(indexes, endings), min_size=1, max_size=8), twice=st.booleans())
    def settle(self, some, twice) -> None:
        """Outcomes of running children, some doubled, perhaps all again by another connection."""
        fences = self.rows.fences()
        if fences:
            self.record([outcome(pick(fences, index), how) for index, how in some], twice=twice)

    @rule(how=endings)
    def settle_all(self, how) -> None:
        """Every running child ends, or is tried again, in one batch."""
        if fences := self.rows.fences():
            self.record([outcome(fence, how) for fence in fences], twice=False)

    @rule(some=st.lists(st.tuples(indexes, endings), min_size=1, max_size=8))
    def settle_late(self, some) -> None:
        """Any fence ever given out: of a child claimed anew, ended, rescued or still running."""
        if self.held:
            self.record([outcome(pick(self.held, index), how) for index, how in some], twice=False)

    def record(self, outcomes: list[Outcome], *, twice: bool) -> None:
        changed, ended = self.rows.settle(outcomes)
        times = [self.world.bare(children.settle, outcomes) for _ in range(1 + twice)]
        settled = self.world.run(gathered(times))
        assert sum(one.children for one in settled) == changed
        self.ends.update(parent for one in settled for parent in one.parents)
        assert {parent for one in settled for parent in one.parents} == ended

    @rule(hours=st.booleans())
    def stage(self, hours) -> None:
        """What is due is ready again, perhaps after hours; nothing else is."""
        if hours:
            self.hours_pass()
        due = [
            cell for cell in self.rows.cells(ChildState.RETRYING) if self.rows.children[cell].due
        ]
        assert self.bare(children.stage).children == len(due)
        self.rows.stage(due)

    def hours_pass(self) -> None:
        self.world.execute("UPDATE child SET run_at = now() - interval '1 s' WHERE run_at > now()")
        for cell in self.rows.cells(ChildState.RETRYING):
            self.rows.children[cell] = self.rows.children[cell]._replace(due=True)

    @rule(
        index=indexes, most=st.sampled_from([1, 300]), forgotten=st.booleans(), back=st.booleans()
    )
    def die(self, index, most, forgotten, back) -> None:
        """A node dies and its children are taken back; then it beats again, or it is buried.

        To the database a crash and a living node judged dead are the same. Its fences stay held.
        """
        node = pick(self.nodes, index)
        self.world.execute(FORGET if forgotten else GROW_OLD, id=node.id)
        self.dead.add(node.id)
        if forgotten:
            self.gone.add(node.id)
        self.rescue(most)
        if back:
            nodes.beat(self.world.beating, node.id, node.new)
            self.keep_alive(node)
        self.bury()

    @rule(most=st.sampled_from([1, 300]))
    def rescue(self, most) -> None:
        """Nobody's children but those of the dead, in their order."""
        running = self.rows.cells(ChildState.PROCESSING)
        orphans = [cell for cell in running if self.rows.children[cell].node in self.dead]
        queued, failed, ended = self.rows.rescue(orphans[:most])
        rescued = self.on(children.rescue, most=most)
        assert (rescued.queued, rescued.failed, set(rescued.parents)) == (queued, failed, ended)
        self.ends.update(rescued.parents)

    @rule(index=indexes, forgotten=st.booleans())
    def die_again_and_again(self, index, forgotten) -> None:
        """A child that takes its node with it each time is given up."""
        for _ in range(LOST_LIMIT):
            self.claim(index, 12)
            self.die(index, 300, forgotten, back=True)

    def bury(self) -> None:
        running = {row.node for row in self.rows.children.values()}
        nameless = self.dead - self.gone - running
        assert set(self.on(nodes.bury)) == nameless
        self.gone |= nameless
