"""Adapters of other packages: what one says of itself is held against what readers of it expect.

The API reads what all workers publish. A schema that is none, or a method that nobody knows, would
break it for every surface: a worker that is configured so says what is wrong, and does not start.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import msgspec

from orchestrator.surfaces import SurfaceConfig, SurfaceDescriptor
from workers.adapters import discovery
from workers.adapters.base import Adapter

_OURS = "workers."
_PARTS = ("method", "options_schema", "countries", "instant", "capture", "close")


def brought() -> Mapping[str, tuple[EntryPoint, ...]]:
    """The entry points by name of each adapter that is not ours alone."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in entry_points(group=discovery.GROUP):
        found[entry.name] = (*found.get(entry.name, ()), entry)
    return {
        name: entries
        for name, entries in found.items()
        if not all(entry.value.startswith(_OURS) for entry in entries)
    }


def contested(entries: tuple[EntryPoint, ...]) -> str | None:
    """Why an adapter of this name cannot be used; None if one package alone brings it."""
    if len(entries) == 1:
        return None
    packages = ", ".join(sorted(entry.dist.name if entry.dist else "?" for entry in entries))
    return f"several packages bring an adapter of this name: {packages}; uninstall all but one"


def fault(config: SurfaceConfig, adapter: Adapter) -> str | None:
    """What is wrong with what the adapter says of itself; None if nothing is."""
    missing = [part for part in _PARTS if not hasattr(adapter, part)]
    if missing:
        return f"its adapter has no {', '.join(missing)}"
    try:
        published = msgspec.json.encode(discovery.describe(config, adapter))
        descriptor = msgspec.json.decode(published, type=SurfaceDescriptor)
    except (TypeError, ValueError) as error:
        return f"its adapter says of itself what nobody can read: {error}"
    for name in ("options_schema", "query_schema"):
        if wrong := _wrong(getattr(descriptor, name)):
            return f"the {name} of its adapter is no JSON Schema that can be used: {wrong}"
    return None


def _wrong(schema: dict[str, Any]) -> str | None:
    # Imported for those who need it: our own adapters are tested, and every worker starts sooner.
    from jsonschema import Draft202012Validator as Draft  # noqa: PLC0415
    from jsonschema import SchemaError  # noqa: PLC0415
    from referencing import Registry  # noqa: PLC0415
    from referencing.exceptions import Unresolvable  # noqa: PLC0415
    from referencing.jsonschema import DRAFT202012  # noqa: PLC0415

    try:
        Draft.check_schema(schema, format_checker=Draft.FORMAT_CHECKER)
    except SchemaError as error:
        return f"{error.json_path}: {error.message}"
    resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            return f"it refers to {reference}, which it does not hold"
    return None


def _references(schema: Any) -> Iterator[str]:
    match schema:
        case dict():
            if isinstance(reference := schema.get("$ref"), str):
                yield reference
            for part in schema.values():
                yield from _references(part)
        case list():
            for part in schema:
                yield from _references(part)
