"""Claims and deaths: what nodes do and what becomes of them."""

import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from orchestrator.domain.states import ChildState
from orchestrator.store import children, nodes
from orchestrator.store.children import Fence
from orchestrator.store.children.rescue import LOST_LIMIT
from tests.stateful import checks, looking, moments
from tests.stateful.endings import endings
from tests.stateful.furnishing import Node
from tests.stateful.moments import Taken
from tests.stateful.records import Cell
from tests.stateful.rooms import may_start
from tests.stateful.settling import Settling
from tests.stateful.strategies import (
    SURFACES,
    Asking,
    asked,
    gathered,
    indexes,
    lane_places,
    pick,
    rushes,
)
from tests.stateful.waiting import FORGET, GROW_OLD


class Working(Settling):
    """Nodes that claim, die and come back."""

    @rule(index=indexes, slots=st.sampled_from([12, 1, 4]))
    def claim(self, index, slots) -> None:
        """Never past a limit as it is now; never nothing where something may start; sync first."""
        node = pick(self.nodes, index)
        before, served = self.rows.copy(), node.new.surfaces
        lanes = self.lanes(served)
        cells, (began, ended) = self.claimed([self.claiming(node, slots)], served)
        assert len(cells) <= slots
        may, might = (may_start(before, self.limits, lanes, clock) for clock in (began, ended))
        assert bool(may) <= bool(cells) <= bool(might)
        sync = any(before.children[cell].sync for cell in cells)
        assert any(child.sync for child in may) <= sync <= any(child.sync for child in might)
        checks.best_first(before, cells)

    @rule(claims=st.lists(st.tuples(indexes, st.integers(1, 8)), min_size=2, max_size=4))
    def claim_at_once(self, claims) -> None:
        """Nor do several nodes together: each child has one owner, each limit holds."""
        work = [self.claiming(pick(self.nodes, n), slots) for n, slots in claims]
        self.claimed(work, SURFACES)

    @rule(
        index=indexes,
        plan=rushes,
        sync=st.booleans(),
        slots=st.sampled_from([60, 1, 3]),
        hows=st.none()
        | st.lists(st.lists(endings, min_size=1, max_size=1), min_size=2, max_size=3),
    )
    def rush(self, index, plan, sync, slots, hows) -> None:
        """More work than may run, of both kinds or of the one that is not waited for.

        Perhaps several nodes tell of it at the same moment.
        """
        some = [Asking(n % 2, index, plan, sync and n % 3 > 0) for n in range(9)]
        self.ask(some)
        self.fan_out(both=False, parents=50)
        for node in range(len(self.nodes)):
            self.claim(node, slots)
        if hows:
            self.settle_at_once(hows, siblings=False)

    @rule(
        place=lane_places,
        how=st.sampled_from(["paused", "half open", "open"]),
        some=st.lists(asked, min_size=1, max_size=6),
        aged=st.booleans(),
    )
    def hold_up(self, place, how, some, aged) -> None:
        """A lane is shut while work for it comes: only what does not need it goes on."""
        self.shut(place, how)
        self.ask(some)
        for _ in range(2):
            self.fan_out(both=False, parents=50, aged=aged)
            for node in range(len(self.nodes)):
                self.claim(node, 12)

    async def claiming(self, node: Node, slots: int) -> Taken:
        named = {"node": node.id, "token": secrets.randbits(62), "surfaces": node.new.surfaces}
        return await self.world.bare(moments.claim, slots=slots, **named)

    def claimed(
        self, claims: Sequence[Any], served: Sequence[str]
    ) -> tuple[list[Cell], tuple[float, float]]:
        """What was claimed, between which moments."""
        before, taken = self.rows.copy(), self.world.run(gathered(claims))
        for one in taken:
            self.rows.claim(one.node, one.token, one.claimed, one.at)
            self.held += [Fence(*child[:2], one.token) for child in one.claimed]
        cells = [child[:2] for one in taken for child in one.claimed]
        assert {self.rows.children[cell].lane for cell in cells} <= self.lanes(served).keys()
        checks.within_limits(before, self.rows, self.rows.lanes, self.limits)
        clocks = min(one.began for one in taken), max(one.ended for one in taken)
        self.spend(Counter(self.rows.children[cell].lane for cell in cells), clocks)
        return cells, clocks

    def spend(self, started: Counter[int], clocks: tuple[float, float]) -> None:
        """Of each lane with a rate as many tokens as children started, of those there were.

        A bucket that was not there may be now, empty.
        """
        paced = [n for n in started if self.rows.lanes[n].rate is not None]
        unknown = [n for n, lane in self.rows.lanes.items() if lane.rate and not lane.bucket.known]
        seen = self.bare(looking.lanes_of) if paced or unknown else {}
        for n in unknown:
            assert seen[n].bucket.tokens == 0
            self.rows.lanes[n] = self.rows.lanes[n]._replace(bucket=seen[n].bucket)
        for n in paced:
            checks.paced(self.rows.lanes[n], seen[n], started[n], clocks)
            self.rows.lanes[n] = self.rows.lanes[n]._replace(bucket=seen[n].bucket)

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
