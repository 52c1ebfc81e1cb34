import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import rollup
from orchestrator.domain.states import ChildState, ParentState

counts = st.integers(0, 50)


@pytest.mark.parametrize(
    ("cells", "end"),
    [
        ((3, 0, 0, 0), "completed"),
        ((2, 1, 0, 0), "partial"),
        ((1, 0, 2, 0), "partial"),
        ((1, 0, 0, 2), "partial"),
        ((0, 3, 0, 0), "failed"),
        ((0, 1, 1, 1), "failed"),
        ((0, 0, 1, 2), "expired"),
        ((0, 0, 3, 0), "canceled"),
    ],
)
def test_the_end_of_a_parent_follows_from_its_cells(cells, end):
    """All completed, some, none: then failed before expired before canceled."""
    completed, failed, canceled, expired = cells
    assert rollup.end(
        completed=completed, failed=failed, canceled=canceled, expired=expired
    ) == ParentState(end)


@given(counts, counts, counts, counts, st.booleans())
def test_a_parent_that_ended_has_an_end(completed, failed, canceled, expired, asked):
    """The roll-up is always one of the ends; some cells completed are never lost in it."""
    end = rollup.end(
        completed=completed,
        failed=failed,
        canceled=canceled,
        expired=expired,
        cancel_asked=asked,
    )
    assert end.ended
    assert (end in {ParentState.COMPLETED, ParentState.PARTIAL}) == (completed > 0)


ENDS = ("completed", "failed", "canceled", "expired")


@given(st.tuples(counts, counts, counts, counts), st.integers(1, 50), st.booleans())
def test_enough_completed_cells_are_a_completed_parent(cells, finish, asked):
    """Whatever became of the others; fewer are what they are without an early end."""
    ends = dict(zip(ENDS, cells, strict=True)) | {"cancel_asked": asked}
    early = ends["completed"] >= finish
    otherwise = rollup.end(**ends)
    assert rollup.end(**ends, finish=finish) is (ParentState.COMPLETED if early else otherwise)


@given(counts, counts, counts)
def test_a_cancel_without_a_completed_cell_is_canceled(failed, canceled, expired):
    """Asking to cancel decides when nothing was completed."""
    assert (
        rollup.end(
            completed=0, failed=failed, canceled=canceled, expired=expired, cancel_asked=True
        )
        is ParentState.CANCELED
    )


def test_states_that_end_and_states_that_do_not():
    """Delayed, queued, processing and retrying go on; what only waits is queued to a client."""
    live = {state for state in ParentState if not state.ended}
    assert live == {"delayed", "queued", "processing"}
    assert {state for state in ParentState if state.waiting} == {"delayed", "queued"}
    assert ParentState.DELAYED.wire == "queued"
    assert {state for state in ChildState if not state.ended} == {
        "queued",
        "processing",
        "retrying",
    }
    assert ChildState.RETRYING.wire == "queued"
    assert {state.wire for state in ChildState} <= {state.value for state in ParentState}
