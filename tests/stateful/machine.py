"""The machine: what users, workers and accidents do, in any order, checked after each step."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from orchestrator import snapshot
from orchestrator.fanout import fan_out
from orchestrator.store import children
from orchestrator.store.children import Fence
from orchestrator.submission import Accepted
from tests.stateful import checks
from tests.stateful.strategies import (
    SURFACES,
    asked,
    deeds,
    gathered,
    indexes,
    outcome,
    pick,
    some_limits,
)
from tests.stateful.working import Working

MANY_ROUNDS = 300


class Machine(Working):
    """Everything, against the model of `tests.stateful.model`."""

    @initialize(
        some=st.lists(some_limits, min_size=1, max_size=3), work=st.lists(asked, max_size=6)
    )
    def begin(self, some, work) -> None:
        """In the middle of a day: often something runs already."""
        for limits in some:
            self.new_key(limits)
        self.new_node(SURFACES)
        self.new_node(SURFACES[1:])
        if work:
            self.submit(work, then=True)
            self.claim(0, 4)

    @rule(some=st.lists(deeds, min_size=2, max_size=6))
    def all_at_once(self, some) -> None:
        """Whatever happens at the same moment: nothing is lost, doubled or past its limit."""
        storm = checks.Storm(before=self.rows.copy())
        self.world.run(gathered(self.do(storm, *deed) for deed in some))
        seen = self.look()
        most = {lane.id: lane.concurrency for lane in self.lanes()}
        storm.judge(seen, most, self.limits)
        self.rows = seen
        self.held += storm.fences
        self.ends.update(storm.ended)

    async def do(self, storm: checks.Storm, deed: str, how: Any) -> None:
        match deed:
            case "submit":
                _, _, answer = await self.ask(*how)
                storm.admitted += [answer.parent] if isinstance(answer, Accepted) else []
            case "fan out":
                storm.born += await self.world.bare(fan_out)
            case "claim":
                _, token, claimed = await self.claiming(pick(self.nodes, how[0]), how[1])
                storm.fences += [Fence(*child[:2], token) for child in claimed]
            case "settle":
                fences = storm.before.fences()
                outcomes = [outcome(pick(fences, n), end) for n, end in how if fences]
                if outcomes:
                    storm.settle(outcomes, await self.world.bare(children.settle, outcomes))
            case "stage":
                await self.world.bare(children.stage)
            case "rescue":
                storm.ended += (await self.world.on(children.rescue)).parents

    @rule(index=indexes)
    def snapshot(self, index) -> None:
        key = pick(self.keys, index)
        checks.snapshot(self.on(snapshot.take, key), key, self.rows, self.lanes())

    @invariant()
    def the_rows_are_as_the_model_says(self) -> None:
        seen = self.look()
        assert seen.parents == self.rows.parents
        assert seen.children == self.rows.children
        checks.consistent(seen)
        assert seen.differences == []
        checks.ended_once(self.rows.finished, seen, self.ends)
        self.rows.finished = seen.finished

    def drain(self) -> None:
        """Nothing is stuck: with one living node that serves all, everything ends."""
        self.world.execute("DELETE FROM node")
        self.dead |= {node.id for node in self.nodes}
        self.nodes.clear()
        self.new_node(SURFACES)
        for _ in range(MANY_ROUNDS):
            self.rescue(300)
            self.stage(hours=True)
            self.fan_out(both=False, parents=50)
            self.claim(0, 100)
            self.settle_all("completed")
            if not self.rows.live():
                break
        assert self.rows.live() == []
        self.the_rows_are_as_the_model_says()

    def teardown(self) -> None:
        try:
            self.drain()
        finally:
            self.world.run(self.world.close())
