"""`${NAME}` in what an operator writes stands for a variable of the environment."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from orchestrator.toml_lines import Key

Keys = tuple[Key, ...]
"""Where in a document a value is: the names of its tables, the numbers of its items."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Unset(NamedTuple):
    """A variable that is named, and is not there."""

    keys: Keys
    name: str

    @property
    def reason(self) -> str:
        """For who wrote it."""
        return f"environment variable {self.name} is not set"


def filled(
    document: Any,
    environment: Mapping[str, str],
    where: Callable[[Keys], bool] = lambda _: True,
) -> tuple[Any, list[Unset]]:
    """The document with the variables in its strings replaced, where they may stand.

    Those that are not set are replaced with nothing and named.
    """
    unset: list[Unset] = []

    def walk(value: Any, keys: Keys) -> Any:
        match value:
            case str() if where(keys):
                names = _VARIABLE.findall(value)
                unset.extend(Unset(keys, name) for name in names if name not in environment)
                return _VARIABLE.sub(lambda found: environment.get(found[1], ""), value)
            case dict():
                return {key: walk(inner, (*keys, key)) for key, inner in value.items()}
            case list():
                return [walk(inner, (*keys, number)) for number, inner in enumerate(value)]
            case _:
                return value

    return walk(document, ()), unset
