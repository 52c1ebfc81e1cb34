"""Configured names, wherever an answer has them."""

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import regex

from orchestrator.domain.envelope import Answer, Capture, Mention, Method
from workers.adapters.base import Adapter, CaptureRequest

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_SPACED = rf"(?-i:[[\p{{L}}\p{{N}}_]--[{_UNSPACED}]])"  # with case it compiles eight times slower
"""What words are made of where there are spaces between words."""
_JOINER, _VARIANT = r"\u200d", r"\ufe0e\ufe0f"
_MORE = rf"[{_VARIANT}]*[[\p{{M}}{_JOINER}]--[{_VARIANT}]]"
"""What makes another character of the one before it: an accent, or an emoji that is joined to it."""
_SPACE = r"(?!\s*\n\s*\n)\s+"
"""Between the words of a name: a line may end there, a paragraph may not."""
_FLAGS = regex.V1 | regex.IGNORECASE | regex.FULLCASE


class Names:
    """Names to look for: whole words, in either case, composed or decomposed."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = [(name, regex.compile(_pattern(name), _FLAGS)) for name in names]

    def found(self, answer: Answer) -> tuple[Mention, ...]:
        """Each name that the text has, in the order of their first places.

        A mention refers to the sources of the blocks it stands in.
        """
        mentions = []
        places = list(_places(answer))
        for name, pattern in self._names:
            ranges = tuple(match.span() for match in pattern.finditer(answer.text))
            if ranges:
                references = dict.fromkeys(
                    number
                    for begin, end in ranges
                    for start, stop, numbers in places
                    if start < end and begin < stop
                    for number in numbers
                )
                mentions.append(
                    Mention(name=name, char_ranges=ranges, reference_ids=tuple(references))
                )
        return tuple(sorted(mentions, key=lambda mention: mention.char_ranges[0]))


class Mentioning:
    """An adapter whose captures say where the names are."""

    def __init__(self, adapter: Adapter, names: Sequence[str]) -> None:
        self._adapter = adapter
        self._names = Names(names)

    @property
    def method(self) -> Method:
        """The adapter's own."""
        return self._adapter.method

    @property
    def options_schema(self) -> dict[str, Any]:
        """The adapter's own."""
        return self._adapter.options_schema

    @property
    def query_schema(self) -> dict[str, Any]:
        """The adapter's own."""
        return getattr(self._adapter, "query_schema", {})

    @property
    def countries(self) -> tuple[str, ...] | None:
        """The adapter's own."""
        return self._adapter.countries

    @property
    def instant(self) -> bool:
        """The adapter's own."""
        return self._adapter.instant

    async def capture(self, request: CaptureRequest) -> Capture:
        """What the adapter finds, with the names in it."""
        found = await self._adapter.capture(request)
        if not isinstance(found, Capture):
            return found  # type: ignore[unreachable]  # mypy: an adapter is somebody else's code
        mentions = self._names.found(found.answer)
        evidence = msgspec.structs.replace(found.evidence, mentions=mentions)
        return msgspec.structs.replace(found, evidence=evidence)

    async def close(self) -> None:
        """Closes the adapter."""
        await self._adapter.close()


def _pattern(name: str) -> str:
    """A name as a whole word, as far as its script has words."""
    forms = dict.fromkeys(unicodedata.normalize(form, name.strip()) for form in ("NFC", "NFD"))
    return "|".join(f"(?:{_edged(form)})" for form in forms)


def _edged(form: str) -> str:
    words = _SPACE.join(regex.escape(word) for word in form.split())
    letters = regex.sub(r"\p{M}+\Z", "", form) or form
    before = rf"(?<!{_SPACED}\p{{M}}*)" if regex.match(_SPACED, letters, regex.V1) else ""
    after = rf"(?!{_SPACED})" if regex.match(_SPACED, letters[-1], regex.V1) else ""
    return rf"(?<!{_JOINER}){before}{words}(?!{_MORE}){after}"


def _places(answer: Answer) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Where in the text each block is, and the sources it refers to.

    Blocks come in the order of the text; those of other adapters may not, or not be in it at all.
    """
    at = 0
    for block in answer.blocks:
        begin = answer.text.find(block.text, at)
        if begin < 0:
            begin = answer.text.find(block.text)
        if begin >= 0:
            at = begin + len(block.text)
            yield begin, at, block.reference_ids
