"""Where a key stands in a TOML text: tomllib reads values, and forgets their lines."""

import re
import tomllib
from collections.abc import Sequence
from typing import Any

Key = str | int


def line_of(text: str, path: Sequence[Key]) -> int:
    """The line (from 1) of the statement that brings in the key at this path.

    A path that is nowhere stands at its nearest parent. Growing the text a line at a time until the
    key is there needs no parser of our own: whatever tomllib accepts, this places.
    """
    path = _present(tomllib.loads(text), path)
    lines = text.split("\n")
    begin = 0
    for end in range(1, len(lines) + 1):
        try:
            document = tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue  # in the middle of a value of several lines
        if _has(document, path):
            return _first_statement(lines, begin, end)
        begin = end
    return 1


def line_of_fault(error: tomllib.TOMLDecodeError, text: str) -> tuple[int, str]:
    """The line and the reason of a syntax error."""
    reason = str(error)
    place = re.search(r" \(at line (\d+), column \d+\)$", reason)
    if place:
        return int(place[1]), reason[: place.start()]
    return text.rstrip("\n").count("\n") + 1, reason.removesuffix(" (at end of document)")


def _present(document: Any, path: Sequence[Key]) -> Sequence[Key]:
    while path and not _has(document, path):
        path = path[:-1]
    return path


def _has(document: Any, path: Sequence[Key]) -> bool:
    for key in path:
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _first_statement(lines: Sequence[str], begin: int, end: int) -> int:
    for number in range(begin, end):
        if (line := lines[number].strip()) and not line.startswith("#"):
            return number + 1
    return end
