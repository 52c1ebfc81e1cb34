"""Which operation of the OpenAPI document a request is, and what the document says of each."""

import re
from functools import cache
from typing import Any, NamedTuple

from orchestrator.api import openapi

ERROR = "application/json"


class Operation(NamedTuple):
    """An operation: its method and path, whether it takes a key, its statuses and its codes."""

    name: str
    pattern: re.Pattern[str]
    keyed: bool
    successes: frozenset[int]
    tags: tuple[str, ...]
    codes: frozenset[str]


@cache
def every() -> tuple[Operation, ...]:
    """Those without parameters in their path first: they are found first."""
    made = [
        _made(method, path, described)
        for path, methods in openapi.document()["paths"].items()
        for method, described in methods.items()
    ]
    return tuple(sorted(made, key=lambda one: one.name.count("{")))


def find(method: str, target: str) -> Operation | None:
    """The operation that this request is, with variables in its target or values; None for none."""
    asked = f"{method} {target.partition('?')[0]}"
    return next((one for one in every() if one.pattern.fullmatch(asked)), None)


def _made(method: str, path: str, described: dict[str, Any]) -> Operation:
    name = f"{method.upper()} {path}"
    pattern = re.compile(re.sub(r"\\\{[^/]*?\\\}", "[^/]+", re.escape(name)))
    answers = described["responses"]
    successes = frozenset(int(status) for status in answers if status.startswith("2"))
    codes = {
        code
        for status, answer in answers.items()
        if not status.startswith("2")
        for code in answer["content"][ERROR]["examples"]
    }
    keyed, tags = bool(described["security"]), tuple(described["tags"])
    return Operation(name, pattern, keyed, successes, tags, frozenset(codes))
