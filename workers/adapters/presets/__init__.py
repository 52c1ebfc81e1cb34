"""Presets of the `http` adapter: whole examples, each of one surface, as a user would write it.

`options.preset` of a surface takes over the options of one; what stands beside it comes before.
"""

import os
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from orchestrator import variables
from workers.errors import OptionError


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
    given = {variable: value for variable, value in os.environ.items() if value}
    filled, unset = variables.filled(taken, given)
    if unset:
        raise OptionError(*((("preset",), one.reason) for one in unset))
    return {**filled, **rest}
