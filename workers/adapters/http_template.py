"""Templates of a request: text with `{query}`, `{country}` and other placeholders in it.

Each place encodes what it is given, so that no query can leave its place: a URL and a header
percent-encode, a JSON body is built as a value and encoded as a whole.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any
from urllib.parse import quote

from yarl import URL

PLACEHOLDERS = (
    *("query", "country", "city", "language"),
    *("country_lower", "country_name", "place", "locale", "primary_language"),
    *("written_language", "google_language", "google_country", "query_escaped"),
)
_NUMBER = "{google_country}"
_PLACEHOLDER = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")
_UNKNOWN = re.compile(r"\{(?!(?:" + "|".join(PLACEHOLDERS) + r")\})[^{}]*\}")
_AUTHORITY = re.compile(r"(https?)://([^/?#\\]+)", re.IGNORECASE)
_DOT_SEGMENT = re.compile(r"(?<=/)\.{1,2}(?=[/?#]|$)")

Values = Mapping[str, str]


class Template:
    """A text whose placeholders are filled in one pass, each value encoded by `encode`.

    `number`: it is nothing but a placeholder for a number.
    """

    def __init__(self, text: str, encode: Callable[[str], str]) -> None:
        self._parts = _PLACEHOLDER.split(text)  # literal, name, literal, name, … literal
        self._encode = encode
        self.number = text == _NUMBER

    @property
    def fixed(self) -> bool:
        """True without a placeholder."""
        return len(self._parts) == 1

    @property
    def names(self) -> frozenset[str]:
        """Its placeholders."""
        return frozenset(self._parts[1::2])

    def fill(self, values: Values) -> str:
        """The text with these values in place of its placeholders."""
        parts = self._parts.copy()
        for place in range(1, len(parts), 2):
            parts[place] = self._encode(values[parts[place]])
        return "".join(parts)


class UrlTemplate:
    """An http(s) URL; ValueError says why a text cannot be one."""

    def __init__(self, text: str) -> None:
        check_url(text)
        path, *rest = re.split(r"(?=[?#])", text, maxsplit=1)
        self._path = Template(path, percent)
        self._rest = Template("".join(rest), percent)

    @property
    def names(self) -> frozenset[str]:
        """Its placeholders."""
        return self._path.names | self._rest.names

    def fill(self, values: Values) -> str:
        """The URL; a value never makes a path segment `.` or `..`, which would climb."""
        return _DOT_SEGMENT.sub(_spelt, self._path.fill(values)) + self._rest.fill(values)


class BodyTemplate:
    """A JSON value; the placeholders in its strings (not its keys) are filled.

    A string that is nothing but `{google_country}` becomes a number.
    """

    def __init__(self, body: Any) -> None:
        self._body = _compiled(body)

    @property
    def names(self) -> frozenset[str]:
        """Its placeholders."""
        return frozenset(name for template in _templates(self._body) for name in template.names)

    def fill(self, values: Values) -> Any:
        """The value, to be encoded as JSON."""
        return _filled(self._body, values)


def header(text: str) -> Template:
    """A header's value: what is filled in is percent-encoded, as a header holds only ASCII."""
    return Template(text, percent)


def percent(value: str) -> str:
    """The value percent-encoded as UTF-8, but for letters, digits and `-._~`."""
    return quote(value, safe="", errors="replace")


def check_url(text: str) -> None:
    """Raises ValueError unless this is an http(s) URL whose host is fixed."""
    if not text.isprintable() or " " in text:
        raise ValueError("a URL holds no spaces or control characters; write %20 for a space")
    authority = re.match(r"[^/?#\\]*(?://[^/?#\\]*)?", text)
    if authority is not None and "{" in authority[0]:
        raise ValueError("a placeholder cannot stand in the scheme, host or port of a URL")
    if (match := _AUTHORITY.match(text)) is None or "\\" in text:
        raise ValueError("not a URL that begins with http:// or https:// and a host")
    if "@" in match[2]:
        raise ValueError("credentials do not belong in a URL; send them in `headers`")
    if _UNKNOWN.search(text):
        names = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise ValueError(f"an unknown placeholder; there are {names}")
    try:
        host = URL(_PLACEHOLDER.sub("x", text)).host
    except ValueError:
        host = None
    if not host:
        raise ValueError("not a URL that can be called")


def _spelt(dots: re.Match[str]) -> str:
    """A dot segment that is none: every client would resolve `..`, and `%2E%2E` too."""
    return dots[0] + "%20"


def _compiled(value: Any) -> Any:
    match value:
        case str():
            template = Template(value, _as_utf8)
            return value if template.fixed else template
        case dict():
            return {key: _compiled(inner) for key, inner in value.items()}
        case list():
            return [_compiled(inner) for inner in value]
        case _:
            return value


def _templates(value: Any) -> Iterator[Template]:
    match value:
        case Template():
            yield value
        case dict():
            yield from chain.from_iterable(map(_templates, value.values()))
        case list():
            yield from chain.from_iterable(map(_templates, value))


def _filled(value: Any, values: Values) -> Any:
    match value:
        case Template(number=True):
            return int(value.fill(values))
        case Template():
            return value.fill(values)
        case dict():
            return {key: _filled(inner, values) for key, inner in value.items()}
        case list():
            return [_filled(inner, values) for inner in value]
        case _:
            return value


def _as_utf8(value: str) -> str:
    return value.encode("utf-8", "replace").decode()
