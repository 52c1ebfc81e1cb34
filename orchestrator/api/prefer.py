"""The `Prefer` header (RFC 7240) and the mode it, the query and the path decide together. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_STRING = r'"(?:[^"\\]|\\.)*"'
_PART = re.compile(rf"({_NAME})(?:[ \t]*=[ \t]*({_NAME}|{_STRING})?)?")
_CLOSED = re.compile(_STRING)
_QUOTED = re.compile(r"\\(.)")
_LONGEST_NUMBER = 9


class Preferences(NamedTuple):
    """What a client prefers: not to wait, or to wait so many seconds."""

    respond_async: bool = False
    wait: int | None = None


class Mode(NamedTuple):
    """How a submission is answered.

    `wait_seconds` None: at once. `preferred`: the client asked for that time, so the end of the
    wait is a 202 and no failure. `applied` is the value of `Preference-Applied`.
    """

    wait_seconds: float | None
    preferred: bool = False
    applied: str | None = None


class Waits(NamedTuple):
    """How long a caller waits who does not say, and the longest."""

    default: float
    longest: float


def parse(headers: Iterable[str]) -> Preferences:
    """The preferences of these header values: the first of a name counts, malformed ones do not."""
    first: dict[str, str] = {}
    for value in headers:
        for name, word in _preferences(value):
            first.setdefault(name, word)
    return Preferences(first.get("respond-async") == "", _seconds(first.get("wait")))


def _preferences(header: str) -> Iterator[tuple[str, str]]:
    for element in _split(header, ","):
        first, *parameters = (part.strip(" \t") for part in _split(element, ";"))
        said = _PART.fullmatch(first)
        if said and all(not part or _PART.fullmatch(part) for part in parameters):
            word = said[2] or ""
            if word.startswith('"'):
                word = _QUOTED.sub(r"\1", word[1:-1])
            yield said[1].lower(), word


def _split(text: str, separator: Literal[",", ";"]) -> Iterator[str]:
    """The parts between separators that are in no quoted string, in time linear in the text.

    A quote that is never closed is a character like any other, and so is each quote after it.
    """
    mark = re.compile(f'["{separator}]')
    start = place = 0
    while found := mark.search(text, place):
        place = found.end()
        if found[0] == separator:
            yield text[start : found.start()]
            start = place
        elif closed := _CLOSED.match(text, found.start()):
            place = closed.end()
        else:
            part, *rest = text[place:].split(separator)
            yield text[start:place] + part
            yield from rest
            return
    yield text[start:]


def _seconds(word: str | None) -> int | None:
    if word is None or not (word.isascii() and word.isdigit()):
        return None
    return int(word.lstrip("0")[:_LONGEST_NUMBER] or "0")


def decide(
    asked: Literal["async", "sync"] | None,
    preferences: Preferences,
    *,
    default: Literal["async", "sync"],
    waits: Waits,
) -> Mode:
    """The mode of a submission: `asked` in the query, else preferred, else the path's default."""
    wait = preferences.wait
    if asked == "async":
        return Mode(None)
    if asked is None and wait == 0:
        return Mode(None, applied="wait=0")
    if wait is not None:
        seconds = min(wait, int(waits.longest))
        told = "respond-async, " if preferences.respond_async and asked is None else ""
        return Mode(seconds, preferred=True, applied=f"{told}wait={seconds}")
    if asked is None and preferences.respond_async:
        return Mode(None, applied="respond-async")
    if asked == "sync" or default == "sync":
        return Mode(min(waits.default, waits.longest))
    return Mode(None)
