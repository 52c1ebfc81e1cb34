"""Submissions and fan-out: into the queue and out of it."""

from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from admission.keys import Key
from admission.refusals import Refusal
from orchestrator import snapshot
from orchestrator.domain.plan import Plan
from orchestrator.fanout import fan_out
from orchestrator.store.lanes import Place
from orchestrator.submission import Accepted
from tests.stateful.furnishing import Furnished
from tests.stateful.model import ParentRow, may_leave
from tests.stateful.strategies import asked, gathered, indexes, pick, plans


class Admitting(Furnished):
    """Two doors, several keys."""

    @rule(some=st.lists(asked, min_size=1, max_size=6), then=st.booleans())
    def submit(self, some, then) -> None:
        """Over both doors at once: exactly as many as there is room for, in each queue."""
        room = {key.id: self.room(key) for key in self.keys}
        wanted = Counter(pick(self.keys, index).id for _, index, _ in some)
        answers = self.world.run(gathered(self.ask(*one) for one in some))
        admitted = Counter(key.id for key, _, answer in answers if isinstance(answer, Accepted))
        for answer in answers:
            self.admit(*answer)
        assert admitted == Counter({key: min(n, room[key]) for key, n in wanted.items()})
        for key, _, answer in answers:
            if isinstance(answer, Refusal):
                told = answer.limit, answer.current, answer.requested
                assert told == (key.limits.queue_capacity, self.rows.depth(key.id), 1)
        if then:
            self.fan_out(both=False, parents=50)

    @rule(index=indexes, plan=plans, more=st.integers(1, 2))
    def fill(self, index, plan, more) -> None:
        """The snapshot's headroom is what admission then does."""
        key = pick(self.keys, index)
        free = self.on(snapshot.take, key).headroom.asynchronous
        assert free == self.room(key)
        self.submit([(n % 2, index, plan) for n in range(free + more)], then=False)

    def room(self, key: Key) -> int:
        return max(0, key.limits.queue_capacity - self.rows.depth(key.id))

    async def ask(self, door: int, index: int, plan: Plan) -> tuple[Key, Plan, Any]:
        key = pick(self.keys, index)
        return key, plan, await self.world.submitters[door].submit(key, plan, self.surfaces)

    def admit(self, key: Key, plan: Plan, answer: Accepted | Refusal) -> None:
        if isinstance(answer, Accepted):
            known = {Place(lane.surface, lane.country): lane.id for lane in self.lanes()}
            cells = tuple(known[Place(cell.surface, cell.region.country)] for cell in plan.cells())
            self.rows.admit(answer.parent, ParentRow(key.id, cells, plan.priority))

    @rule(both=st.booleans(), parents=st.sampled_from([1, 50]))
    def fan_out(self, both, parents) -> None:
        """One or two at once: together they make each child once, and something moves if it may."""
        most = {lane.id: lane.concurrency for lane in self.lanes()}
        leaving = any(may_leave(self.rows, key.id, key.limits, most) for key in self.keys)
        rounds = [self.world.bare(fan_out, parents=parents) for _ in range(1 + both)]
        born = sum(self.world.run(gathered(rounds)))
        seen = self.look()
        left = [one for one in self.rows.live() if seen.parents[one].state != "queued"]
        moved = [one for one in left if self.rows.parents[one].state == "queued"]
        assert born == sum(self.rows.fan_out(parent) for parent in moved)
        assert bool(moved) == leaving
