"""Bodies of a few fields, read as one record."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from litestar.types import Scope
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from orchestrator.api import bodies, problems, queries, wording
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.regions import Strict

Record = TypeVar("Record", bound=Strict)
Across = Callable[[Mapping[str, Any]], Iterable[Fault]]
"""What is wrong with a decoded object that its fields by themselves do not show."""


def read(
    kind: type[Record], scope: Scope, body: bytes | Problem, across: Across
) -> Record | Problem:
    """What a write asks for that takes no query parameters, or all that is wrong with it."""
    if isinstance(body, Problem):
        return body
    asked = parse(kind, body, across)
    faults = queries.unknown(scope) + (asked if isinstance(asked, list) else [])
    return problems.invalid(faults) if faults or isinstance(asked, list) else asked


def parse(kind: type[Record], body: bytes, across: Across) -> Record | list[Fault]:
    """The record of a body, or all that is wrong with it."""
    decoded = bodies.decode(body)
    if isinstance(decoded, Fault):
        return [decoded]
    if not isinstance(decoded.value, dict):
        return [Fault(path="", message=bodies.NO_OBJECT)]
    faults = [*decoded.faults, *across(decoded.value)]
    try:
        record = kind.model_validate(decoded.value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        return [*faults, *(_said(kind, detail) for detail in found)]
    return faults or record


def _said(kind: type[Strict], detail: ErrorDetails) -> Fault:
    if detail["type"] != "extra_forbidden":
        return wording.said(detail, short=False)
    if len(detail["loc"]) > 1:
        path = ".".join(map(str, detail["loc"]))
        return Fault(path=path, message="Unknown field; leave it out.")
    fields = kind.model_fields.items()
    allowed = ", ".join(str(field.validation_alias or name) for name, field in fields)
    return Fault(path=str(detail["loc"][0]), message=f"Unknown field; allowed: {allowed}.")
