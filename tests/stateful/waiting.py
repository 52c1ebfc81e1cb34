"""Callers who hang up, and the API processes that hold them, which die or forget."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from orchestrator.store import nodes, waits
from tests.stateful.admitting import Admitting
from tests.stateful.furnishing import Node
from tests.stateful.strategies import Asking, doors, gathered, indexes, names, picked, prompt_plans
from tests.stateful.world import API

GROW_OLD = "UPDATE node SET heartbeat_at = now() - interval '11 seconds' WHERE id = %(id)s"
FORGET = "DELETE FROM node WHERE id = %(id)s"
AGED = "UPDATE sync_wait SET since = now() + %(seconds)s * interval '1 second'"


class Waiting(Admitting):
    """Places of the sync budget come back, whoever dies."""

    @rule(some=st.none() | st.lists(indexes, min_size=1, max_size=4), apart=st.booleans())
    def leave(self, some, apart) -> None:
        """Some or all, together or each alone at the same moment: the last of a parent detaches."""
        callers = sorted(self.rows.callers)
        self.go(callers if some is None else picked(callers, some), apart=apart)

    @rule(index=indexes, plan=prompt_plans, name=names, many=st.integers(0, 4), apart=st.booleans())
    def leave_a_parent(self, index, plan, name, many, apart) -> None:
        """All callers of one parent at once, after some more have come."""
        self.ask([Asking(n % 2, index, plan, sync=True, name=name) for n in range(many)])
        named = self.rows.named(self.key(index).id, name)
        waited_for = sorted(row.parent for row in self.rows.callers.values())
        of = [named] if named in waited_for else picked(waited_for, [index])
        callers = [n for n, row in self.rows.callers.items() if row.parent in of]
        self.go(callers, apart=apart)

    def go(self, callers: list[int], *, apart: bool) -> None:
        groups = [[caller] for caller in callers] if apart else [callers]
        self.world.run(gathered(self.world.leave(group) for group in groups))
        self.left(callers, [])

    @rule(door=doors, known=st.lists(indexes, max_size=3), young=st.booleans())
    def sweep(self, door, known, young) -> None:
        """Of the callers a process does not know the young ones stay, and others' stay anyhow."""
        node = self.world.doors[door].node
        mine = sorted(n for n, row in self.rows.callers.items() if row.node == node)
        live = picked(mine, known)
        self.world.execute(AGED, seconds=3600 if young else -11)
        self.bare(waits.sweep, node, live)
        self.rows.leave([] if young else set(mine) - set(live))

    @rule(door=doors, most=st.sampled_from([300, 1]), forgotten=st.booleans(), back=st.booleans())
    def api_dies(self, door, most, forgotten, back) -> None:
        """Its callers' places come back; it beats again, or another takes its place."""
        node = self.world.doors[door].node
        self.world.execute(FORGET if forgotten else GROW_OLD, id=node)
        self.dead.add(node)
        if forgotten:
            self.gone.add(node)
        self.forget_dead(most)
        if back:
            nodes.beat(self.world.beating, node, API)
        else:
            self.world.run(self.world.reopen(door))
        self.keep_alive(Node(self.world.doors[door].node, API))

    @rule(most=st.sampled_from([1, 300]))
    def forget_dead(self, most) -> None:
        """Nobody's callers but those of the dead, in their order."""
        orphans = sorted(n for n, row in self.rows.callers.items() if row.node in self.dead)
        assert self.bare(waits.forget_dead, most=most) == len(orphans[:most])
        self.rows.leave(orphans[:most])
