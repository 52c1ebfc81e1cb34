"""The machine: what users, workers and accidents do, in any order, checked after each step."""

import sys

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from admission import usage
from orchestrator.surfaces import RegionLimits
from tests.stateful import checks, snapshots
from tests.stateful.living import Living
from tests.stateful.strategies import (
    SURFACES,
    asked,
    described,
    descriptor,
    doors,
    indexes,
    new_credits,
    some_limits,
)

FEW_ROUNDS = 4
MANY_ROUNDS = 300


class Machine(Living):
    """Everything, against the model of `tests.stateful.model`."""

    @initialize(
        some=st.lists(st.tuples(some_limits, new_credits), min_size=1, max_size=3),
        surface=described,
        work=st.lists(asked, max_size=6),
    )
    def begin(self, some, surface, work) -> None:
        """In the middle of a day: often something runs already."""
        for limits, free in some:
            self.new_key(limits, free)
        self.new_node(SURFACES)
        self.new_node(SURFACES[1:])
        self.register(surface)
        if work:
            self.submit(work, then=True)
            self.claim(0, 4)
        self.before = self.rows.copy()

    @rule(index=indexes, door=doors)
    def snapshot(self, index, door) -> None:
        key = self.key(index)
        taken = self.world.run(self.world.snapshot(door, key))
        snapshots.true(taken, key, self.rows)
        assert self.on(usage.taken, key.id) == self.rows.taken(key.id, key.limits)

    @invariant()
    def the_rows_are_as_the_model_says(self) -> None:
        seen = self.look()
        assert seen.parents == self.rows.parents
        assert seen.children == self.rows.children
        assert seen.callers == self.rows.callers
        assert seen.lanes == self.rows.lanes
        assert seen.told == self.rows.told
        assert seen.free == self.rows.free
        assert seen.charged == self.rows.charged
        checks.consistent(seen)
        checks.attended(seen)
        checks.accounted(seen)
        checks.within_admission(self.before, seen, self.limits)
        assert seen.differences == []
        checks.ended_once(self.rows.finished, seen, self.ends)
        self.rows.finished = seen.finished
        self.before = seen

    def drain(self) -> None:
        """Nothing is stuck: with one living node that serves all, everything ends."""
        self.world.execute("DELETE FROM node WHERE kind = 'worker'")
        self.dead |= {node.id for node in self.nodes}
        self.nodes.clear()
        self.new_node(SURFACES)
        self.fan_out(both=False, parents=50, aged=True)
        self.resume_all()
        for n in range(MANY_ROUNDS):
            if n == FEW_ROUNDS:
                self.lift_rates()
            self.rescue(300)
            self.spare(breakers=True, upstreams=True, tokens=99.0)
            self.stage(hours=True)
            self.release(hours=True)
            self.fan_out(both=False, parents=50)
            self.claim(0, 100)
            self.settle_all("completed")
            if not self.rows.live():
                break
        assert self.rows.live() == []
        self.count_groups()
        self.world.run(self.world.ended())
        self.the_rows_are_as_the_model_says()

    def resume_all(self) -> None:
        for lane in self.rows.lanes.values():
            if lane.paused:
                self.operate((lane.surface, lane.country), ["resume"])

    def lift_rates(self) -> None:
        """A token a round would take long."""
        for name, surface in self.surfaces.items():
            if surface.rate or any(own.rate for own in surface.regions.values()):
                self.register(descriptor(name, RegionLimits(concurrency=surface.concurrency)))

    def teardown(self) -> None:
        """All ends, unless something went wrong already: that is what is to be told."""
        failed = sys.exc_info()[0] is not None
        try:
            if not failed:
                self.drain()
        finally:
            self.world.run(self.world.close())
