"""The machine over HTTP, with two API processes: the test is client, worker and accident."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from admission.limits import Limits
from orchestrator.domain import ids
from orchestrator.domain.states import ChildState
from orchestrator.store.children import Failed, Fence, Outcome, Retry
from tests.stateful import wire
from tests.stateful.deciding import Held, explained
from tests.stateful.lanes import Lane
from tests.stateful.machine import Machine
from tests.stateful.served import Served
from tests.stateful.storm import Storm
from tests.stateful.strategies import doors, indexes, picked, prompt_asked
from tests.stateful.waiting import GROW_OLD

MOST_KILLS = 1
"""In an example: a process takes a second to start."""


class ServedMachine(Machine):
    """The same rules, but for those that are a process's own; calls are answered as they end."""

    world: Served
    sweep = api_dies = strike = operate = hold_up = knock = batch = scrape = draw = None

    def __init__(self, world: Served) -> None:
        super().__init__(world)
        self.kills = 0

    def allowed(self, limits: Limits) -> Limits:
        """The rate is another matter."""
        return limits._replace(requests_per_minute=1_000_000)

    def pause(self) -> None:
        super().pause()
        self.changed(Lane.healed)

    def fresh(self, lane: Lane) -> Lane:
        """Lanes are left over, and processes remember for a second what is configured."""
        return lane

    def outcome(self, fence: Fence, how: str) -> Outcome:
        """Nor do they forget at once that an upstream wants to be left alone."""
        found = super().outcome(fence, how)
        asks = isinstance(found, Retry | Failed)
        return found._replace(not_before_seconds=0.0) if asks else found

    async def do_operate(self, storm: Storm, *order: Any) -> None:
        """Nor that a lane is paused."""

    @rule(one=prompt_asked, preferred=st.sampled_from([False, False, False, True]))
    def wait_in_vain(self, one, preferred) -> None:
        """504, or 202 for who said how long: the job goes on, detached, and its place is free."""
        known = set(self.rows.parents)
        asked, answer = self.world.run(self.world.ask_in_vain(self.keys, one, preferred=preferred))
        lanes = self.places()
        waited = (
            asked._replace(told=Held(asked.told.parent)) if answer.status_code == 202 else asked
        )
        rows = explained(self.rows, [waited], lanes) or explained(self.rows, [asked], lanes)
        assert rows is not None, (self.rows, asked, answer.text)
        if answer.status_code in {202, 504}:
            assert wire.replayed(answer) == (asked.told.parent in known)
        if answer.status_code == 202:
            assert answer.headers["Preference-Applied"] == "wait=1"
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
        rows.leave([asked.caller.id])
        self.rows = rows

    @rule(door=doors, index=indexes)
    def read(self, door, index) -> None:
        """A job as either process shows it is as the rows are."""
        for parent in picked(sorted(self.rows.parents), [index]):
            row = self.rows.parents[parent]
            key = next(key for key in self.keys if key.id == row.key)
            said = self.world.run(self.world.read(key, ids.text(parent), door=door))
            assert (said["job"]["status"], said["job"]["run"]) == (row.state.wire, row.run)
            states = [ChildState(state).wire for state in self.rows.states(parent)]
            assert [child["status"] for child in said["children"]] == states
            assert sum(said["job"]["counts"].values()) == len(row.lanes)

    @rule(door=doors)
    def kill(self, door) -> None:
        """A process is killed with its callers: what it holds comes back once it counts as dead."""
        if self.kills < MOST_KILLS:
            self.kills += 1
            node = self.world.doors[door].node
            self.world.run(self.world.replace(door))
            self.world.execute(GROW_OLD, id=node)
            self.dead.add(node)
            self.forget_dead(300)
            self.bury()
