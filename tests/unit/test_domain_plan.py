import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import plan as plans
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region

regions = st.builds(
    Region,
    country=st.sampled_from(["US", "GB"]),
    city=st.none() | st.text(max_size=20),
    language=st.none() | st.sampled_from(["en", "de"]),
)
surfaces = st.lists(
    st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True), min_size=1, max_size=5, unique=True
)
made = st.builds(
    Plan,
    query=st.text(min_size=1, max_size=40),
    surfaces=surfaces.map(tuple),
    regions=st.lists(regions, min_size=1, max_size=6).map(tuple),
    priority=st.integers(1, 10),
    max_attempts=st.none() | st.integers(1, 10),
    metadata=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)


@given(made)
def test_the_three_ways_to_a_cell_agree(plan):
    """Listing the cells, asking by ordinal and finding by surface and token name the same cells."""
    cells = list(plan.cells())
    assert len(cells) == plan.total
    assert [cell.ordinal for cell in cells] == list(range(1, plan.total + 1))
    for cell in cells:
        assert plan.cell(cell.ordinal) == cell
        assert plan.find(cell.surface, cell.token) == cell


@given(made)
def test_cells_are_surface_major_in_request_order(plan):
    """All regions of the first surface come first, as they were asked for."""
    cells = list(plan.cells())
    assert [cell.surface for cell in cells] == [s for s in plan.surfaces for _ in plan.regions]
    assert [cell.region for cell in cells] == list(plan.regions) * len(plan.surfaces)


@given(made, st.text(max_size=10), st.text(max_size=10))
def test_a_cell_that_is_not_there_is_not_found(plan, surface, token):
    """Only the plan's own surfaces and tokens name a cell."""
    known = {(cell.surface, cell.token) for cell in plan.cells()}
    assert (plan.find(surface, token) is not None) == ((surface, token) in known)


@given(made)
def test_a_plan_is_stored_and_read_back(plan):
    """The payload of a parent is the plan."""
    assert plans.decode(plans.encode(plan)) == plan
    assert plans.decode(plans.encode(plan).encode()) == plan


def test_an_ordinal_beyond_the_plan_names_no_cell():
    """Ordinals count from 1 to the total."""
    plan = Plan(query="tea", surfaces=("a",), regions=(Region("US"), Region("GB")))
    with pytest.raises(IndexError):
        plan.cell(3)
