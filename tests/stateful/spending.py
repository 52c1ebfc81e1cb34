"""Keys with few credits: some of what they ask for can be paid, and some cannot."""

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import rule

from orchestrator.store.steering import RETRYABLE
from tests.stateful.batching import Batching, items
from tests.stateful.endings import endings
from tests.stateful.grouping import likely
from tests.stateful.prices import priced
from tests.stateful.strategies import GROUPS, Asking, a_cell, doors, indexes, prompt_plans

little = st.integers(0, 9)
some_plans = st.lists(prompt_plans, min_size=1, max_size=3)


class Spending(Batching):
    """Just enough, a little more or a little less."""

    @rule(door=doors, index=indexes, some=items, whole=likely, more=st.integers(-2, 1))
    def scrape(self, door, index, some, whole, more) -> None:
        """A batch of a key that has about as much as it costs."""
        cost = sum(priced(item.plan).estimate for item in some)
        self.grant(index, max(0, cost + more))
        self.batch([(door, index, some, whole, None)])

    @rule(index=indexes, some=some_plans, how=endings, cell=a_cell, free=little)
    def retry_for_little(self, index, some, how, cell, free) -> None:
        """What was called off is run again one by one, a cell or all of it."""
        self.break_off(index, some, how)
        self.grant(index, free)
        for parent, row in sorted(self.rows.parents.items()):
            if row.key == self.key(index).id:
                self.run_again(parent, RETRYABLE, self.ordinal(parent, cell))

    @rule(index=indexes, some=some_plans, how=endings, free=little, more=little)
    def retry_bit_by_bit(self, index, some, how, free, more) -> None:
        """A group's retry goes as far as there are credits, and on once there are more."""
        self.break_off(index, some, how)
        self.grant(index, free)
        named = {(row.key, row.group) for row in self.rows.parents.values() if row.group}
        mine = (self.key(index).id, GROUPS[0])
        if mine in named:
            place = sorted(named).index(mine)
            self.ask_of_group(place, "retry", RETRYABLE, now=True, known=True)
            self.grant(index, more)
            self.carry_on()

    def break_off(self, index, some, how) -> None:
        """Jobs of a group, of whose cells a few end so, and whatever is left then is called off."""
        self.grant(index, None)
        plans = [msgspec.structs.replace(plan, group=GROUPS[0]) for plan in some]
        self.ask([Asking(n % 2, index, plan) for n, plan in enumerate(plans)])
        self.fan_out(both=False, parents=50)
        self.claim(0, 4)
        self.settle_all(how)
        for parent in sorted(self.rows.live()):
            if self.rows.parents[parent].key == self.key(index).id:
                self.call_off(parent, None)
        self.settle_all("given back")
