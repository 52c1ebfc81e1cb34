"""What a key may spend, as numbers."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from admission import budget
from admission.budget import UNBOUND, Budget, OverQuota, Quota, Unaffordable
from admission.demand import Demand

NOON = datetime(2026, 12, 31, 12, tzinfo=UTC)
amounts = st.integers(0, 50)
budgets = st.builds(
    lambda free, daily, monthly: Budget(free, budget.quotas(NOON, daily=daily, monthly=monthly)),
    st.none() | amounts,
    st.tuples(st.none() | amounts, amounts),
    st.tuples(st.none() | amounts, amounts),
)


@given(budgets, st.lists(st.tuples(amounts, amounts), max_size=6))
def test_nothing_is_admitted_that_is_not_there(before, some):
    """Whatever comes: what is free is never less than zero, no quota is passed by an admission."""
    now = before
    for cells, price in some:
        demand = Demand(1, cells=cells, credits=price)
        if now.short(demand) is None:
            now = now.after(demand)
    assert now.credits is None or now.credits >= 0
    for then, quota in zip(before.quotas, now.quotas, strict=True):
        assert quota.used <= max(then.used, quota.limit)


@given(budgets, amounts, amounts)
def test_what_lacks_is_said(have, cells, price):
    """Credits first, then the quota that has no room."""
    demand = Demand(1, cells=cells, credits=price)
    match have.short(demand):
        case Unaffordable(estimated, free):
            assert estimated == price > free == have.credits
        case OverQuota(quota, requested):
            assert quota in have.quotas
            assert quota.used + requested > quota.limit
        case None:
            assert have.credits is None or price <= have.credits
            assert all(quota.used + cells <= quota.limit for quota in have.quotas)


def test_without_bounds_everything_may_be_spent():
    """And nothing is less for it."""
    huge = Demand(1, cells=10**9, credits=10**12)
    assert UNBOUND.short(huge) is None
    assert UNBOUND.after(huge) is UNBOUND


def test_quotas_begin_anew_at_midnight_and_with_the_month():
    """Of UTC; those there are."""
    day, month = datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    assert budget.quotas(NOON, daily=(5, 1), monthly=(9, 2)) == (
        Quota("daily", 5, 1, day),
        Quota("monthly", 9, 2, month),
    )
    (only,) = budget.quotas(datetime(2026, 1, 31, tzinfo=UTC), daily=(None, 1), monthly=(9, 2))
    assert only.resets_at == datetime(2026, 2, 1, tzinfo=UTC)
