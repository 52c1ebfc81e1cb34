"""What is wrong between the fields of a submission that are right by themselves. Pure."""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import ValidationError

from orchestrator.api.problems import Fault
from orchestrator.api.regions import RegionIn
from orchestrator.api.schemas import LONGEST_SECONDS, MOST_REGIONS
from orchestrator.domain.addresses import Network
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region
from orchestrator.sealing import Sealer


class Rules(NamedTuple):
    """What this server allows and assumes beyond the shape of a submission.

    Webhooks may lead to `networks` although they are not public; without a `sealer` no secret can
    be kept.
    """

    default_country: str
    max_children: int
    networks: Sequence[Network] = ()
    sealer: Sealer | None = None


class Fields(NamedTuple):
    """The fields that meet each other, as far as each is usable by itself; None where not."""

    surfaces: Sequence[str | None]
    regions: Sequence[Region | None]
    options: Iterable[str]
    delay: float
    deadline: float | None
    finish: int | None

    @property
    def cells(self) -> int:
        """How many cells are asked for."""
        return len(self.surfaces) * len(self.regions)


def of(plan: Plan) -> Fields:
    """Those of a plan; `finish` as it was asked for is not in it when it is all cells."""
    return Fields(plan.surfaces, plan.regions, plan.options, plan.delay, plan.deadline, plan.finish)


def salvaged(body: dict[str, Any], rules: Rules, surface: str | None) -> Fields:
    """What is usable of a body with faults in its shape; `surface` is the path's, if any."""
    surfaces = body.get("surfaces") if surface is None else [surface]
    options, finish = body.get("options"), body.get("finish")
    default = Region(country=rules.default_country)
    return Fields(
        [name if isinstance(name, str) else None for name in _list(surfaces)],
        [_usable(region) for region in _list(body.get("regions"))[:MOST_REGIONS]] or [default],
        options if isinstance(options, dict) and isinstance(surfaces, list) else (),
        _number(body.get("delay")) or 0.0,
        _number(body.get("deadline")),
        None if not isinstance(finish, dict) else _count(finish.get("atLeast")),
    )


def sound(plan: Plan, rules: Rules) -> bool:
    """Whether `faults` would find nothing; most plans need no closer look."""
    return (
        plan.total <= rules.max_children
        and len(set(plan.surfaces)) == len(plan.surfaces)
        and _distinct(plan.regions)
        and plan.options.keys() <= set(plan.surfaces)
        and (plan.finish is None or plan.finish <= plan.total)
        and (plan.deadline is None or plan.deadline > plan.delay)
    )


@lru_cache(maxsize=256)  # the items of a batch look from the same places
def _distinct(regions: tuple[Region, ...]) -> bool:
    return len({region.identity for region in regions}) == len(regions)


def faults(fields: Fields, rules: Rules) -> Iterator[Fault]:
    """All that is wrong between them."""
    yield from _repeats("surfaces", fields.surfaces)
    yield from _repeats("regions", [region and region.identity for region in fields.regions])
    for name in fields.options:
        if name not in fields.surfaces:
            yield Fault(path=f"options.{name}", message="This surface is not asked for.")
    if fields.deadline is not None and fields.deadline <= fields.delay:
        yield Fault(path="deadline", message="Must be more than delay.")
    if fields.finish is not None and fields.finish > fields.cells:
        message = f"At most {fields.cells}, the number of cells."
        yield Fault(path="finish.atLeast", message=message)
    if fields.cells > rules.max_children:
        message = (
            f"{len(fields.surfaces)} surfaces in {len(fields.regions)} regions are {fields.cells}"
            f" cells; at most {rules.max_children} are allowed."
        )
        yield Fault(path="", message=message)


def region(given: RegionIn) -> Region:
    """A region as it is planned with."""
    return Region(country=given.country, city=given.city, language=given.language)


def _repeats(field: str, items: Sequence[object]) -> Iterator[Fault]:
    first: dict[object, int] = {}
    for place, item in enumerate(items):
        if item is not None and (before := first.setdefault(item, place)) != place:
            yield Fault(path=f"{field}[{place}]", message=f"Repeats {field}[{before}].")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    return value if usable and 0 <= value <= LONGEST_SECONDS else None


def _count(value: Any) -> int | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if usable and 1 <= value < math.inf else None


def _usable(given: Any) -> Region | None:
    try:
        return region(
            RegionIn.model_validate({"country": given} if isinstance(given, str) else given)
        )
    except ValidationError:
        return None
