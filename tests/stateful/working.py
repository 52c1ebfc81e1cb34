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
from orchestrator.store.children.settle import STRIKES
from tests.stateful import checks
from tests.stateful.deciding import may_start
from tests.stateful.furnishing import Node
from tests.stateful.lanes import Breaker, Lane
from tests.stateful.records import Cell
from tests.stateful.strategies import Asking, endings, gathered, indexes, outcome, pick, rushes
from tests.stateful.waiting import FORGET, GROW_OLD, Waiting

STRUCK = "UPDATE lane SET failures = %(failures)s WHERE id = %(id)s"
PAUSED_ENOUGH = """
UPDATE lane SET open_until = now() - interval '1 day' WHERE open_until IS NOT NULL
"""


class Working(Waiting):
    """Nodes that claim, settle late or twice, die and come back."""

    @rule(index=indexes, slots=st.sampled_from([12, 1, 4]))
    def claim(self, index, slots) -> None:
        """Never past a limit as it is now; never nothing where something may start; sync first."""
        node = pick(self.nodes, index)
        before, lanes = self.rows.copy(), self.lanes(node.new.surfaces)
        claimed = self.claimed([self.claiming(node, slots)], lanes)
        assert len(claimed) <= slots
        may = may_start(before, self.limits, lanes)
        assert bool(claimed) == bool(may)
        started = [before.children[cell] for cell in claimed]
        assert any(child.sync for child in started) == any(child.sync for child in may)
        checks.best_first(before, claimed)

    @rule(claims=st.lists(st.tuples(indexes, st.integers(1, 8)), min_size=2, max_size=4))
    def claim_at_once(self, claims) -> None:
        """Nor do several nodes together: each child has one owner, each limit holds."""
        work = [self.claiming(pick(self.nodes, n), slots) for n, slots in claims]
        self.claimed(work, self.lanes())

    @rule(index=indexes, plan=rushes, sync=st.booleans(), slots=st.sampled_from([60, 1, 3]))
    def rush(self, index, plan, sync, slots) -> None:
        """More work than may run, of both kinds or of the one that is not waited for."""
        some = [Asking(n % 2, index, plan, sync and n % 3 > 0) for n in range(9)]
        self.ask(some)
        self.fan_out(both=False, parents=50)
        for node in range(len(self.nodes)):
            self.claim(node, slots)

    async def claiming(self, node: Node, slots: int) -> tuple[Node, int, list[Claimed]]:
        token, served = secrets.randbits(62), node.new.surfaces
        named = {"node": node.id, "token": token, "surfaces": served}
        return node, token, await self.world.bare(children.claim, slots=slots, **named)

    def claimed(self, claims: Sequence[Any], lanes: dict[int, Lane]) -> list[Cell]:
        before, cells = self.rows.copy(), []
        for node, token, claimed in self.world.run(gathered(claims)):
            self.rows.claim(node.id, token, claimed)
            self.held += [Fence(*child[:2], token) for child in claimed]
            cells += [child[:2] for child in claimed]
        assert all(self.rows.children[cell].lane in lanes for cell in cells)
        checks.within_limits(before, self.rows, self.lanes(), self.limits)
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
        self.pause()
        assert sum(one.children for one in settled) == changed
        assert {parent for one in settled for parent in one.parents} == ended
        self.end(parent for one in settled for parent in one.parents)

    @rule(index=indexes, nearly=st.booleans())
    def strike(self, index, nearly) -> None:
        """A lane has failed so often that once more opens its breaker, or its pause is over."""
        lanes = self.lanes()
        if nearly and lanes:
            lane = pick(sorted(lanes), index)
            if lanes[lane].breaker.state == "closed":
                self.world.execute(STRUCK, id=lane, failures=STRIKES - 1)
                self.rows.breakers[lane] = Breaker(STRIKES - 1)
        else:
            self.pauses_end()

    def pauses_end(self) -> None:
        self.world.execute(PAUSED_ENOUGH)
        for lane, breaker in self.rows.breakers.items():
            if breaker.state == "open":
                self.rows.breakers[lane] = breaker._replace(state="half open")

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
        came, ended = self.rows.rescue(orphans[:most])
        rescued = self.on(children.rescue, most=most)
        assert (rescued.queued, rescued.failed) == (came["queued"], came["failed"])
        assert rescued.stopped == came["canceled"] + came["expired"]
        assert set(rescued.parents) == ended
        self.end(rescued.parents)

    @rule(index=indexes, forgotten=st.booleans())
    def die_again_and_again(self, index, forgotten) -> None:
        """A child that takes its node with it each time is given up."""
        for _ in range(LOST_LIMIT):
            self.claim(index, 12)
            self.die(index, 300, forgotten, back=True)

    def bury(self) -> None:
        """Whom nothing is left of, neither children nor callers."""
        running = {row.node for row in self.rows.children.values()}
        waiting = {row.node for row in self.rows.callers.values()}
        nameless = self.dead - self.gone - running - waiting
        assert set(self.on(nodes.bury)) == nameless
        self.gone |= nameless
