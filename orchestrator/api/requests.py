"""From the bytes of a submission to its plan, or to every fault in it at once. No IO."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from pydantic import ValidationError

from orchestrator.api import bodies, wording
from orchestrator.api.problems import Fault
from orchestrator.api.regions import RegionIn
from orchestrator.api.schemas import MOST_REGIONS, SURFACE, SubmitRequest, SurfaceRequest
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region

MOST_FAULTS = 100
DEFAULT_PRIORITY = 5
_SHORTHAND = ("country", "city", "language")


class Asked(NamedTuple):
    """What a submission asks for, and the key under which sending it again is the same job."""

    plan: Plan
    idempotency_key: str | None


class Rules(NamedTuple):
    """What this server allows and assumes beyond the shape of a submission."""

    default_country: str
    max_children: int


class _Matrix(NamedTuple):
    """Surfaces and regions as far as each is usable by itself; None where one is not."""

    surfaces: Sequence[str | None]
    regions: Sequence[Region | None]
    options: Iterable[str]


def parse(body: bytes, rules: Rules) -> Asked | list[Fault]:
    """What the body of `POST /v1/search` asks for, or all that is wrong with it.

    At most 100 faults. Of a field given twice the last one counts, as with most readers of JSON.
    """
    return _read(body, rules, None)


def parse_for(surface: str, body: bytes, rules: Rules) -> Asked | list[Fault]:
    """What the body of `POST /v1/search/{surface}` asks for, as `parse` says it.

    A surface whose name cannot be one is the fault of the path `surface`.
    """
    return _read(body, rules, surface)


def _read(body: bytes, rules: Rules, surface: str | None) -> Asked | list[Fault]:
    decoded = bodies.decode(body)
    if isinstance(decoded, Fault):
        return [decoded]
    if not isinstance(decoded.value, dict):
        return [Fault(path="", message="The body must be a JSON object.")]
    before = [*decoded.faults, *_misplaced(decoded.value, surface)]
    try:
        asked = _asked(decoded.value, rules, surface)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        shape = [wording.said(detail, short=surface is not None) for detail in found]
        across = _across(_salvaged(decoded.value, rules, surface), rules)
        return [*islice([*before, *shape, *across], MOST_FAULTS)]
    if _sound(asked.plan, rules) and not before:
        return asked
    matrix = _Matrix(asked.plan.surfaces, asked.plan.regions, asked.plan.options)
    return [*islice([*before, *_across(matrix, rules)], MOST_FAULTS)]


def _misplaced(body: dict[str, Any], surface: str | None) -> Iterator[Fault]:
    """What is wrong with a surface's own path and its shorthand."""
    if surface is None:
        return
    if not re.fullmatch(SURFACE, surface):
        yield Fault(path="surface", message=f"The surface in the path must match {SURFACE}.")
    given = [name for name in _SHORTHAND if body.get(name) is not None]
    if given and body.get("regions") is not None:
        yield Fault(path=given[0], message="Give regions or country, city, language, not both.")


def _asked(body: dict[str, Any], rules: Rules, surface: str | None) -> Asked:
    if surface is None:
        request = SubmitRequest.model_validate(body)
        return _of(request, request.surfaces, [Region(country=rules.default_country)])
    short = SurfaceRequest.model_validate(body)
    country = short.country or rules.default_country
    return _of(short, [surface], [Region(country, short.city, short.language)])


def _of(
    request: SubmitRequest | SurfaceRequest, surfaces: list[str], otherwise: list[Region]
) -> Asked:
    plan = Plan(
        query=request.query,
        surfaces=tuple(surfaces),
        regions=tuple(map(_region, request.regions)) if request.regions else tuple(otherwise),
        priority=request.priority or DEFAULT_PRIORITY,
        max_attempts=request.max_attempts,
        options=request.options or {},
        metadata=request.metadata or {},
    )
    return Asked(plan, request.idempotency_key)


def _region(region: RegionIn) -> Region:
    return Region(country=region.country, city=region.city, language=region.language)


def _sound(plan: Plan, rules: Rules) -> bool:
    """Whether `_across` would find nothing; most plans need no closer look."""
    return (
        plan.total <= rules.max_children
        and len(set(plan.surfaces)) == len(plan.surfaces)
        and len({region.identity for region in plan.regions}) == len(plan.regions)
        and plan.options.keys() <= set(plan.surfaces)
    )


def _across(matrix: _Matrix, rules: Rules) -> Iterator[Fault]:
    """What is wrong between fields that are right by themselves."""
    yield from _repeats("surfaces", matrix.surfaces)
    yield from _repeats("regions", [region and region.identity for region in matrix.regions])
    for name in matrix.options:
        if name not in matrix.surfaces:
            yield Fault(path=f"options.{name}", message="This surface is not asked for.")
    cells = len(matrix.surfaces) * len(matrix.regions)
    if cells > rules.max_children:
        message = (
            f"{len(matrix.surfaces)} surfaces in {len(matrix.regions)} regions are {cells} cells;"
            f" at most {rules.max_children} are allowed."
        )
        yield Fault(path="", message=message)


def _repeats(field: str, items: Sequence[object]) -> Iterator[Fault]:
    first: dict[object, int] = {}
    for place, item in enumerate(items):
        if item is not None and (before := first.setdefault(item, place)) != place:
            yield Fault(path=f"{field}[{place}]", message=f"Repeats {field}[{before}].")


def _salvaged(body: dict[str, Any], rules: Rules, surface: str | None) -> _Matrix:
    """What is usable of a body with faults in its shape."""
    surfaces = body.get("surfaces") if surface is None else [surface]
    options = body.get("options")
    default = Region(country=rules.default_country)
    return _Matrix(
        [name if isinstance(name, str) else None for name in _list(surfaces)],
        [_usable(region) for region in _list(body.get("regions"))[:MOST_REGIONS]] or [default],
        options if isinstance(options, dict) and isinstance(surfaces, list) else (),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _usable(region: Any) -> Region | None:
    try:
        return _region(
            RegionIn.model_validate({"country": region} if isinstance(region, str) else region)
        )
    except ValidationError:
        return None
