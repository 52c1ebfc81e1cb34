"""From the bytes of a submission to its plan, or to every fault in it at once. No IO."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from orchestrator.api import bodies
from orchestrator.api.problems import Fault
from orchestrator.api.schemas import MOST_REGIONS, RegionIn, SubmitRequest
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region

MOST_FAULTS = 100
DEFAULT_PRIORITY = 5
_ALLOWED = {
    0: "query (or prompt), surfaces, regions, priority, maxAttempts, options, metadata",
    2: "country, city, language",
}


class Rules(NamedTuple):
    """What this server allows and assumes beyond the shape of a submission."""

    default_country: str
    max_children: int


class _Matrix(NamedTuple):
    """Surfaces and regions as far as each is usable by itself; None where one is not."""

    surfaces: Sequence[str | None]
    regions: Sequence[Region | None]
    options: Iterable[str]


def parse(body: bytes, rules: Rules) -> Plan | list[Fault]:
    """The plan a body asks for, or all that is wrong with it (at most 100 faults)."""
    decoded = bodies.decode(body)
    if isinstance(decoded, Fault):
        return [decoded]
    if not isinstance(decoded.value, dict):
        return [Fault(path="", message="The body must be a JSON object.")]
    try:
        plan = _plan(SubmitRequest.model_validate(decoded.value), rules)
    except ValidationError as error:
        shape = [_said(detail) for detail in error.errors(include_url=False, include_input=False)]
        across = _across(_salvaged(decoded.value, rules), rules)
        return [*islice([*decoded.faults, *shape, *across], MOST_FAULTS)]
    if _sound(plan, rules) and not decoded.faults:
        return plan
    matrix = _Matrix(plan.surfaces, plan.regions, plan.options)
    return [*islice([*decoded.faults, *_across(matrix, rules)], MOST_FAULTS)]


def _plan(request: SubmitRequest, rules: Rules) -> Plan:
    regions = request.regions or [RegionIn(country=rules.default_country)]
    return Plan(
        query=request.query,
        surfaces=tuple(request.surfaces),
        regions=tuple(map(_region, regions)),
        priority=request.priority or DEFAULT_PRIORITY,
        max_attempts=request.max_attempts,
        options=request.options or {},
        metadata=request.metadata or {},
    )


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


def _salvaged(body: dict[str, Any], rules: Rules) -> _Matrix:
    """What is usable of a body with faults in its shape."""
    surfaces, regions, options = body.get("surfaces"), body.get("regions"), body.get("options")
    default = Region(country=rules.default_country)
    return _Matrix(
        [name if isinstance(name, str) else None for name in _list(surfaces)],
        [_usable(region) for region in _list(regions)[:MOST_REGIONS]] or [default],
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


def _said(detail: ErrorDetails) -> Fault:
    """A fault of pydantic's in the words of this API."""
    place = detail["loc"]
    path = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in place if part != "[key]"
    ).removeprefix(".")
    return Fault(path=path, message=_message(detail))


_WORDS = {
    "missing": "This field is required",
    "string_type": "Must be text",
    "int_type": "Must be a whole number",
    "list_type": "Must be a list",
    "dict_type": "Must be an object",
    "model_type": 'Must be a country such as "US", or an object with country, city and language',
    "string_too_short": "At least {min_length} character",
    "string_too_long": "At most {max_length} characters",
    "too_short": "At least {min_length}",
    "too_long": "At most {max_length}",
    "greater_than_equal": "At least {ge}",
    "less_than_equal": "At most {le}",
    "string_pattern_mismatch": "Must match {pattern}",
}


def _message(detail: ErrorDetails) -> str:
    place, kind = detail["loc"], detail["type"]
    if place == ("prompt",) and kind == "extra_forbidden":
        return "Give query or prompt, not both."
    if kind == "extra_forbidden":
        return f"Unknown field; allowed: {_ALLOWED.get(len(place) - 1, '')}."
    known = _WORDS.get(kind)
    words = known.format(**detail.get("ctx", {})) if known else detail["msg"]
    return f"The key: {words}." if place[-1] == "[key]" else f"{words}."
