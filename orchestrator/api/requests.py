"""From the bytes of a submission to its plan, or to every fault in it at once. No IO."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from pydantic import ValidationError

from orchestrator.api import between, bodies, webhooks, wording
from orchestrator.api.between import Rules
from orchestrator.api.problems import Fault
from orchestrator.api.schemas import SURFACE, SubmitRequest, SurfaceRequest
from orchestrator.domain.plan import NO_DELAY, Plan
from orchestrator.domain.regions import Region

MOST_FAULTS = 100
DEFAULT_PRIORITY = 5
_SHORTHAND = ("country", "city", "language")


class Asked(NamedTuple):
    """What a submission asks for, and the key under which sending it again is the same job."""

    plan: Plan
    idempotency_key: str | None


def parse(body: bytes, rules: Rules) -> Asked | list[Fault]:
    """What the body of `POST /v1/search` asks for, or all that is wrong with it.

    At most 100 faults. Of a field given twice the last one counts, as with most readers of JSON.
    """
    return _decoded(body, rules, None)


def parse_for(surface: str, body: bytes, rules: Rules) -> Asked | list[Fault]:
    """What the body of `POST /v1/search/{surface}` asks for, as `parse` says it.

    A surface whose name cannot be one is the fault of the path `surface`.
    """
    return _decoded(body, rules, surface)


def _decoded(body: bytes, rules: Rules, surface: str | None) -> Asked | list[Fault]:
    decoded = bodies.decode(body)
    if isinstance(decoded, Fault):
        return [decoded]
    return read(decoded.value, rules, surface=surface, before=decoded.faults)


def read(
    value: Any, rules: Rules, *, surface: str | None = None, before: Iterable[Fault] = ()
) -> Asked | list[Fault]:
    """What a decoded body asks for, as `parse` says it; `before` are faults of its characters."""
    if not isinstance(value, dict):
        return [*islice([*before, Fault(path="", message=bodies.NO_OBJECT)], MOST_FAULTS)]
    before = [*before, *_misplaced(value, surface), *_webhook(value, rules)]
    try:
        asked = _asked(value, rules, surface)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        shape = [wording.said(detail, short=surface is not None) for detail in found]
        across = between.faults(between.salvaged(value, rules, surface), rules)
        return [*islice([*before, *shape, *across], MOST_FAULTS)]
    if between.sound(asked.plan, rules) and not before:
        return asked
    across = between.faults(between.of(asked.plan), rules)
    return [*islice([*before, *across], MOST_FAULTS)]


def _misplaced(body: dict[str, Any], surface: str | None) -> Iterator[Fault]:
    """What is wrong with a surface's own path and its shorthand."""
    if surface is None:
        return
    if not re.fullmatch(SURFACE, surface):
        yield Fault(path="surface", message=f"The surface in the path must match {SURFACE}.")
    given = [name for name in _SHORTHAND if body.get(name) is not None]
    if given and body.get("regions") is not None:
        yield Fault(path=given[0], message="Give regions or country, city, language, not both.")


def _webhook(body: dict[str, Any], rules: Rules) -> Iterator[Fault]:
    given = body.get("webhook")
    return webhooks.refused(given, networks=rules.networks, sealer=rules.sealer)


def _asked(body: dict[str, Any], rules: Rules, surface: str | None) -> Asked:
    if surface is None:
        request = SubmitRequest.model_validate(body)
        return _of(request, request.surfaces, Region(country=rules.default_country), rules)
    short = SurfaceRequest.model_validate(body)
    country = short.country or rules.default_country
    return _of(short, [surface], Region(country, short.city, short.language), rules)


def _of(
    request: SubmitRequest | SurfaceRequest, surfaces: list[str], otherwise: Region, rules: Rules
) -> Asked:
    regions = tuple(map(between.region, request.regions)) if request.regions else (otherwise,)
    enough = request.finish.at_least if request.finish else None
    plan = Plan(
        query=request.query,
        surfaces=tuple(surfaces),
        regions=regions,
        priority=request.priority or DEFAULT_PRIORITY,
        max_attempts=request.max_attempts,
        delay=request.delay or NO_DELAY,  # -0.0 too
        deadline=request.deadline,
        finish=None if enough == len(surfaces) * len(regions) else enough,
        group=request.group,
        max_credits=request.max_credits,
        options=request.options or {},
        metadata=request.metadata or {},
        webhook=webhooks.sealed(request.webhook, rules.sealer),
    )
    return Asked(plan, request.idempotency_key)
