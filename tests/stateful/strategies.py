"""What the machine draws: limits, plans, submissions, endings, deeds."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from hypothesis import strategies as st

from admission.keys import Key
from admission.limits import Limits
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region
from orchestrator.domain.webhooks import BOTH, Webhook
from orchestrator.store.steering import RETRYABLE
from orchestrator.surfaces import RegionLimits, SurfaceDescriptor
from tests.stateful.endings import HOUR_SECONDS, endings
from tests.stateful.prices import COSTS

SURFACES = ("chat", "maps", "news")
FIRST_LIMITS = (4, 2, 6)
"""How many children of each surface may run in a lane to begin with."""
WHERE = (Region("US"), Region("GB"), Region("US", "Boston"))
MOST = 5
"""Keys, and nodes, at most."""


class Asking(NamedTuple):
    """A submission through a door, by a key: to be queued or waited for, perhaps under a name."""

    door: int
    key: int
    plan: Plan
    sync: bool = False
    name: str | None = None


class Item(NamedTuple):
    """One submission of a batch."""

    plan: Plan
    name: str | None = None


class Batch(NamedTuple):
    """Submissions of a key through a door; `reservation` is what they draw on first."""

    door: int
    key: Key
    items: Sequence[Item]
    whole: bool = False
    reservation: UUID | None = None


indexes = st.integers(0, 30)
doors = st.integers(0, 1)
few = st.sampled_from([4, 1, 2, 3, 6])
some_limits = st.builds(
    Limits,
    requests_per_minute=st.sampled_from([60, 6, 180]),
    sync_limit=st.sampled_from([2, 1, 3, 0, 6]),
    queue_capacity=st.sampled_from([5, 2, 1, 0, 9]),
    concurrency=st.sampled_from([4, 2, 9, 1]),
    weight=st.sampled_from([0.5, 1.0, 2.0]),
    quota_daily=st.none(),
    quota_monthly=st.none(),
    coalesce=st.just(value=True),
)
"""Without quotas: a day may end meanwhile. Nor do cells make calls here that they could share."""
some_credits = st.sampled_from([None, 30, 9, 4, 0])
new_credits = st.sampled_from([None, None, 40, 12])
rates = st.sampled_from([None, None, "4/s", "20/h"])
"""With three tokens at most, which come back soon, and with one, which does not."""
lane_limits = st.builds(RegionLimits, concurrency=few, rate=rates)
operators = st.one_of(
    st.sampled_from(["pause", "resume", "resume"]), st.none() | st.sampled_from([1, 2, 3, 5])
)
"""What an operator tells a lane: a word, or its limit."""
lane_places = st.tuples(st.sampled_from(SURFACES), st.sampled_from(["US", "GB"]))
some_surfaces = st.lists(st.sampled_from(SURFACES), min_size=1, max_size=2, unique=True)
GROUPS = ("early", "late")


def descriptor(
    name: str, limits: RegionLimits, of_gb: RegionLimits | None = None
) -> SurfaceDescriptor:
    """A surface whose lanes have these limits, one perhaps its own."""
    return SurfaceDescriptor(
        name=name,
        adapter="simulator",
        method="simulator",
        options_schema={},
        concurrency=limits.concurrency,
        rate=limits.rate,
        credits=COSTS[name],
        regions={"GB": of_gb} if of_gb else {},
    )


described = st.builds(descriptor, st.sampled_from(SURFACES), lane_limits, st.none() | lane_limits)


def sound(plan: Plan) -> Plan:
    """Without an early end that is none."""
    early = plan.finish is not None and plan.finish < plan.total
    return plan if early else msgspec.structs.replace(plan, finish=None)


some_webhooks = st.builds(
    Webhook,
    url=st.just("https://hooks.example/jobs"),
    events=st.sampled_from([BOTH, ("job",), ("parent",)]),
)
"""Nobody delivers here."""
prompt_plans = st.builds(
    Plan,
    query=st.just("q"),
    surfaces=some_surfaces.map(tuple),
    regions=st.lists(st.sampled_from(WHERE), min_size=1, max_size=2, unique=True).map(tuple),
    priority=st.integers(1, 3),
    deadline=st.sampled_from([None, 2 * HOUR_SECONDS]),
    finish=st.sampled_from([None, 1, 2]),
    group=st.sampled_from([None, *GROUPS]),
    webhook=st.none() | some_webhooks,
).map(sound)
plans = st.one_of(
    prompt_plans,
    prompt_plans,
    prompt_plans.map(lambda plan: msgspec.structs.replace(plan, delay=HOUR_SECONDS)),
)
SMALL = Plan(query="q", surfaces=SURFACES[:1], regions=WHERE[:1])
rushes = st.sampled_from([Plan(query="q", surfaces=SURFACES, regions=WHERE), SMALL])
names = st.sampled_from("abcdefgh")
prompt_asked = st.builds(Asking, doors, indexes, prompt_plans, st.booleans(), st.none() | names)
asked = st.one_of(
    st.builds(Asking, doors, indexes, plans, st.just(value=False), st.none() | names), prompt_asked
)
some_ends = st.sampled_from([RETRYABLE, RETRYABLE, ("canceled",), ("failed", "expired")])
a_cell = st.none() | st.integers(0, 3)
deeds = st.one_of(
    st.tuples(st.just("cancel"), st.tuples(indexes, a_cell)),
    st.tuples(st.just("cancel"), st.tuples(indexes, a_cell)),
    st.tuples(st.just("clear"), indexes),
    st.tuples(st.just("expire"), st.lists(indexes, min_size=1, max_size=3)),
    st.tuples(st.just("retry"), st.tuples(indexes, some_ends)),
    st.tuples(st.just("erase"), st.tuples(indexes)),
    st.tuples(st.just("prune"), st.lists(indexes, min_size=1, max_size=3)),
    st.tuples(st.just("read"), st.tuples(indexes)),
    st.tuples(st.just("release"), st.none()),
    st.tuples(st.just("act"), st.none()),
    st.tuples(st.just("submit"), asked),
    st.tuples(st.just("leave"), st.lists(indexes, min_size=1, max_size=3)),
    st.tuples(st.just("fan out"), st.none()),
    st.tuples(st.just("claim"), st.tuples(indexes, st.integers(1, 8))),
    st.tuples(st.just("settle"), st.lists(st.tuples(indexes, endings), max_size=4)),
    st.tuples(st.just("stage"), st.none()),
    st.tuples(st.just("rescue"), st.none()),
    st.tuples(st.just("operate"), st.tuples(lane_places, operators)),
)


def pick(some: Sequence[Any], index: int) -> Any:
    return some[index % len(some)]


def picked(some: Sequence[Any], indexes: Sequence[int]) -> list[Any]:
    """Distinct ones; none of none."""
    return list(dict.fromkeys(pick(some, index) for index in indexes)) if some else []


async def gathered(work: Any) -> list[Any]:
    return list(await asyncio.gather(*work))
