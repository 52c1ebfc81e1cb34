"""The checks of `options`: the schemas that workers published, and URLs by the address guard."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from referencing import Registry

from orchestrator.api.problems import Fault
from orchestrator.domain import urls
from orchestrator.domain.addresses import Network
from orchestrator.surfaces import SurfaceDescriptor

LONGEST_MESSAGE = 300
Checks = Mapping[str, Draft202012Validator]


class _UrlError(Exception):
    """A URL that is not called; the text is for the client who sent it."""


class Made(NamedTuple):
    """The check of each surface's options by its name, and of its query, where it has one."""

    options: Checks
    queries: Checks


def made(surfaces: Iterable[SurfaceDescriptor], reachable: Sequence[Network]) -> Made:
    """The checks of these surfaces.

    A schema may refer to nothing outside itself. Its format `uri` is a URL that is to be called:
    one that leads to the internet or to `reachable` networks.
    """
    nothing: Registry[Any] = Registry()
    formats = FormatChecker(formats=())

    @formats.checks("uri", raises=_UrlError)
    def callable_(value: object) -> bool:
        if isinstance(value, str) and (wrong := urls.fault(value, reachable)):
            raise _UrlError(wrong.message)
        return True

    def check(schema: dict[str, Any]) -> Draft202012Validator:
        return Draft202012Validator(schema, registry=nothing, format_checker=formats)

    every = list(surfaces)
    return Made(
        {one.name: check(one.options_schema) for one in every},
        {one.name: check(one.query_schema) for one in every if one.query_schema},
    )


def faults(check: Draft202012Validator, path: str, options: Any) -> list[Fault]:
    """What is wrong with these options, which stand at this path of a request."""
    try:
        errors = sorted(check.iter_errors(options), key=lambda error: error.json_path)
        return [_fault(path, error) for error in errors]
    except (OverflowError, ValueError):
        return [Fault(path=path, message="Holds a number that is too large.")]


def _fault(path: str, error: ValidationError) -> Fault:
    return Fault(path=path + error.json_path.removeprefix("$"), message=_asked(error))


def _asked(error: ValidationError) -> str:
    """What the schema asks for; never what was sent instead, which may be a secret."""
    schema = error.schema
    if isinstance(error.cause, _UrlError):
        return str(error.cause)
    if error.validator == "additionalProperties" and isinstance(schema, Mapping):
        known = ", ".join(schema.get("properties", ())) or "no options"
        return f"{f'Allowed are: {known}'[:LONGEST_MESSAGE]}."
    asked = msgspec.json.encode(error.validator_value).decode()
    said = f"Does not fit the surface's schema: {error.validator} {asked}"
    return f"{said[:LONGEST_MESSAGE]}."
