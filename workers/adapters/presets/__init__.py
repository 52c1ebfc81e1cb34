"""Presets of the `http` adapter: whole examples, each of one surface, as a user would write it.

`options.preset` of a surface takes over the options of one; what stands beside it comes before.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from workers.errors import OptionError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@cache
def names() -> tuple[str, ...]:
    """Those there are."""
    found = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def text(name: str) -> str:
    """The file of a preset: a `parallax.toml` of one surface, with what is to be said of it."""
    return (files(__name__) / f"{name}.toml").read_text("utf-8")


def applied(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, over those of the preset they name, if any; raises `OptionError`."""
    rest = dict(options)
    name = rest.pop("preset", None)
    if name is None:
        return rest
    if name not in names():
        raise OptionError((("preset",), f"there is no such preset; there are {', '.join(names())}"))
    (surface,) = tomllib.loads(text(str(name)))["surfaces"].values()
    taken = {key: value for key, value in surface["options"].items() if key not in rest}
    return {**_filled(taken), **rest}


def _filled(value: Any) -> Any:
    """The value with every `${NAME}` in it replaced; `OptionError` for one that is not set."""
    match value:
        case str():
            return _VARIABLE.sub(_set, value)
        case dict():
            return {key: _filled(inner) for key, inner in value.items()}
        case list():
            return [_filled(inner) for inner in value]
        case _:
            return value


def _set(found: re.Match[str]) -> str:
    value = os.environ.get(found[1])
    if not value:
        raise OptionError((("preset",), f"environment variable {found[1]} is not set"))
    return value
