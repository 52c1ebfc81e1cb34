"""Configured names, wherever an answer has them."""

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import anyio.to_thread
import msgspec
import regex

from orchestrator.domain.envelope import Answer, Capture, Mention, Method
from workers.adapters.base import Adapter, CaptureRequest

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_JOINER, _VARIANT = r"\u200d", r"\ufe0e\ufe0f"  # both belong to emoji
# A set of characters that asks for no case compiles eight times faster.
_SPACED = rf"(?-i:[[\p{{L}}\p{{N}}_]--[{_UNSPACED}]])"
"""What words begin with where there are spaces between words."""
_WITHIN = rf"(?-i:[[\p{{L}}\p{{N}}_\p{{Mn}}\p{{Mc}}]--[{_UNSPACED}{_VARIANT}]])"
"""What they go on with."""
_MORE = rf"(?-i:[{_VARIANT}]*[[\p{{M}}{_JOINER}]--[{_VARIANT}]])"
"""What makes another character of the one before it: an accent, or the next part of an emoji."""
_SPACE = r"(?!\s*\n\s*\n)\s+"
"""Between the words of a name: a line may end there, a paragraph may not."""
_FLAGS = regex.V1 | regex.IGNORECASE | regex.FULLCASE
LONG = 1_000_000
"""Characters times names that take milliseconds."""


class Names:
    """Names to look for: whole words, in either case, composed or decomposed."""

    def __init__(self, names: Sequence[str]) -> None:
        self.long = LONG // max(len(names), 1)
        """Characters from which on a text takes long."""
        self._names = [(name, regex.compile(_pattern(name), _FLAGS)) for name in names]

    def found(self, answer: Answer) -> tuple[Mention, ...]:
        """Each name that the text has, in the order of their first places.

        A mention refers to the sources of the blocks it stands in.
        """
        mentions = []
        places = _Places(answer)
        for name, pattern in self._names:
            ranges = tuple(match.span() for match in pattern.finditer(answer.text))
            if ranges:
                references = tuple(places.references(ranges))
                mentions.append(Mention(name=name, char_ranges=ranges, reference_ids=references))
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
        """What the adapter finds, with the names in it; a long text is read on a thread."""
        found = await self._adapter.capture(request)
        if not isinstance(found, Capture):
            return found  # type: ignore[unreachable]  # mypy: an adapter is somebody else's code
        if len(found.answer.text) < self._names.long:
            mentions = self._names.found(found.answer)
        else:
            mentions = await anyio.to_thread.run_sync(
                self._names.found, found.answer, abandon_on_cancel=True
            )
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
    before = rf"(?<!{_WITHIN})" if regex.match(_SPACED, letters, regex.V1) else ""
    after = rf"(?!{_SPACED})" if regex.match(_SPACED, letters[-1], regex.V1) else ""
    return rf"(?<!{_JOINER}){before}{words}(?!{_MORE}){after}"


class _Places:
    """Where the blocks of an answer are, and the sources they refer to."""

    def __init__(self, answer: Answer) -> None:
        self._places = sorted(_places(answer))
        self._starts = [start for start, _, _ in self._places]
        self._reached = list(accumulate((stop for _, stop, _ in self._places), max))

    def references(self, ranges: Iterable[tuple[int, int]]) -> dict[int, None]:
        """The sources of the blocks that these ranges meet, each once."""
        found: dict[int, None] = {}
        for begin, end in ranges:
            first, last = bisect_right(self._reached, begin), bisect_left(self._starts, end)
            for _, stop, numbers in self._places[first:last]:
                if begin < stop:
                    found.update(dict.fromkeys(numbers))
        return found


def _places(answer: Answer) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Blocks come in the order of the text; a foreign adapter's may not, or not be in it at all."""
    at = 0
    for block in answer.blocks:
        begin = answer.text.find(block.text, at)
        if begin < 0:
            begin = answer.text.find(block.text)
        if begin >= 0:
            at = begin + len(block.text)
            yield begin, at, block.reference_ids
