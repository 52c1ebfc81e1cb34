"""Submissions and fan-out: into the queue, or straight to work, and out of the queue."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from orchestrator.fanout import fan_out
from orchestrator.store import parents
from orchestrator.submission import Accepted
from tests.stateful import looking
from tests.stateful.deciding import Held, explained, is_full, is_refused
from tests.stateful.furnishing import Furnished
from tests.stateful.prices import priced
from tests.stateful.rooms import may_leave, within_windows
from tests.stateful.strategies import (
    Asking,
    asked,
    doors,
    gathered,
    indexes,
    names,
    picked,
    plans,
    prompt_plans,
)

# However slow this run, nobody is passed over or not looked at for long but by a rule.
YOUNG = """
WITH looked_at AS (UPDATE usage SET fan_turn = extract(epoch FROM clock_timestamp()))
UPDATE strand SET since = extract(epoch FROM clock_timestamp()) WHERE waiting
"""
AGED = """
WITH looked_at AS (UPDATE usage SET fan_turn = 0, fan_passed = 0)
UPDATE strand SET since = extract(epoch FROM clock_timestamp()) - 3600 WHERE waiting
"""
both_doors = st.tuples(st.booleans(), st.booleans())


class Admitting(Furnished):
    """Two doors, several keys."""

    @rule(some=st.lists(asked, min_size=1, max_size=6), then=st.booleans())
    def submit(self, some, then) -> None:
        """Over both doors at once: as if they had come one after the other."""
        self.ask(some)
        if then:
            self.fan_out(both=False, parents=50)

    def ask(self, some: Sequence[Asking]) -> list[Any]:
        """What each is told; in some order the model says the same."""
        told = self.world.run(self.world.ask_all(self.keys, some, self.surfaces))
        lanes = self.places()
        rows = explained(self.rows, told, lanes)
        assert rows is not None, (self.rows, told)
        if len(told) == 1 and is_full(told[0].told):
            assert is_refused(told[0].told, self.rows, told[0].key)
        self.rows = rows
        return [one.told for one in told]

    @rule(index=indexes, plan=prompt_plans, name=names, sync=both_doors)
    def same_instant(self, index, plan, name, sync) -> None:
        """The same request through both doors, each in a mode of its own: never two jobs."""
        some = [Asking(door, index, plan, sync[door], name) for door in (0, 1)]
        made = [told for told in self.ask(some) if isinstance(told, Accepted)]
        assert len(made) <= 1

    @rule(
        index=indexes,
        again=st.lists(st.tuples(doors, st.booleans()), min_size=1, max_size=4),
        other=st.none() | st.none() | plans,
    )
    def replay(self, index, again, other) -> None:
        """A request of before, or another under its name, in either mode through either door."""
        named = sorted(parent for parent, row in self.rows.parents.items() if row.name)
        live = [parent for parent in named if not self.rows.parents[parent].state.ended]
        for parent in picked(live or named, [index]):
            row = self.rows.parents[parent]
            place = [key.id for key in self.keys].index(row.key)
            plan = other or self.on(parents.plans_of, [parent])[parent]
            now = not plan.delay
            self.ask([Asking(door, place, plan, sync and now, row.name) for door, sync in again])

    @rule(index=indexes, door=doors, plan=prompt_plans, sync=st.booleans(), more=st.integers(1, 2))
    def fill(self, index, door, plan, sync, more) -> None:
        """The snapshot's headroom is what admission then does, as far as there are credits."""
        room = self.world.run(self.world.snapshot(door, self.key(index))).headroom
        free = room.sync if sync else room.asynchronous
        most = min(free, self.rows.affords(self.key(index).id, priced(plan).estimate))
        some = [Asking(n % 2, index, plan, sync) for n in range(free + more)]
        came = [told for told in self.ask(some) if isinstance(told, Accepted | Held)]
        assert len(came) == most

    @rule(
        both=st.booleans(),
        parents=st.sampled_from([1, 50]),
        aged=st.sampled_from([False, False, True]),
    )
    def fan_out(self, both, parents, *, aged=False) -> None:
        """One or two at once: together they make each child once, and something moves if it may.

        Perhaps they have all been passed over for long.
        """
        aged = aged and not both
        self.world.execute(AGED if aged else YOUNG)
        self.rows.served = self.bare(looking.served)
        leaving = any(may_leave(self.rows, key.id, key.limits, aged=aged) for key in self.keys)
        rounds = [self.world.bare(fan_out, parents=parents) for _ in range(1 + both)]
        born = sum(self.world.run(gathered(rounds)))
        seen = self.look()
        left = [one for one in self.rows.live() if seen.parents[one].state != "queued"]
        moved = [one for one in left if self.rows.parents[one].state == "queued"]
        assert bool(moved) == leaving, (moved, leaving)
        within_windows(self.rows, moved, self.limits, aged=aged, both=both)
        assert born == sum(self.rows.fan_out(parent) for parent in moved)
