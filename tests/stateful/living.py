"""The life of one parent: submitted, and steered from one run to the next."""

from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import rule

from orchestrator.store.steering import RETRYABLE
from orchestrator.submission import Accepted
from tests.stateful.endings import endings
from tests.stateful.storming import Storming
from tests.stateful.strategies import Asking, a_cell, doors, indexes, prompt_plans

turns = st.one_of(
    st.tuples(st.sampled_from(["cancel", "retry", "retry"]), a_cell),
    st.tuples(st.just("settle"), endings),
    st.tuples(st.sampled_from(["expire", "fan out", "claim", "group"]), st.none()),
)


class Living(Storming):
    """What is done to one parent in a row, more often than chance would have it."""

    @rule(index=indexes, door=doors, plan=prompt_plans, some=st.lists(turns, max_size=8))
    def live(self, index, door, plan, some) -> None:
        """Whatever its history, the rows are as the model says, and so are its cells."""
        parent = self.sent(Asking(door, index, plan))
        for turn, how in some if parent else ():
            self.take_turn(parent, turn, how)
            self.the_rows_are_as_the_model_says()

    def sent(self, asking: Asking) -> UUID | None:
        """Into a queue that was cleared, of a key that was given credits, if there was no room."""
        (told,) = self.ask([asking])
        if not isinstance(told, Accepted):
            self.clear(asking.key)
            self.grant(asking.key, 30)
            (told,) = self.ask([asking])
        return told.parent if isinstance(told, Accepted) else None

    def take_turn(self, parent: UUID, turn: str, how: str | int | None) -> None:
        match turn:
            case "cancel":
                self.call_off(parent, self.ordinal(parent, how))
            case "retry":
                self.run_again(parent, RETRYABLE, self.ordinal(parent, how))
            case "expire":
                self.run_out([] if self.rows.parents[parent].state.ended else [parent])
            case "fan out":
                self.fan_out(both=False, parents=50)
            case "claim":
                self.claim(0, 4)
            case "settle":
                self.settle_all(how)
            case "group":
                self.count_groups()

    def the_rows_are_as_the_model_says(self) -> None:
        """The machine's invariant."""
        raise NotImplementedError  # the machine says which
