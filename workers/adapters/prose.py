"""Markdown as people read it: its plain text, its blocks, and where each character came from.

A provider's citations point into its markdown; an Envelope's point into the plain text. Both count
Unicode code points, so that a position is carried over exactly, past emphasis, links and escapes.
"""

import re
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

import pyromark

if TYPE_CHECKING:
    from pyromark.event import Range

_OPTIONS = pyromark.Options.ENABLE_TABLES | pyromark.Options.ENABLE_STRIKETHROUGH
_BREAKS = frozenset({"SoftBreak", "HardBreak"})
_KINDS = {
    "Heading": "heading",
    "Paragraph": "paragraph",
    "List": "list",
    "Table": "table",
    "CodeBlock": "code",
    "BlockQuote": "quote",
    "HtmlBlock": "html",
}
_LINES = frozenset({*_KINDS, "TableHead", "TableRow"})
"""What begins on a line of its own."""
_INDENT = "  "
_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Span(NamedTuple):
    """A range of code points, its end not included."""

    start: int
    end: int


class Part(NamedTuple):
    """A block of the text: `heading`, `paragraph`, `list`, `table`, `code`, `quote` or `html`."""

    type: str
    span: Span


class _Pieces:
    """Ranges of the markdown, in order, and the ranges of the text that they became."""

    def __init__(self) -> None:
        self.from_: list[int] = []
        self.until: list[int] = []
        self.became: list[int] = []
        self.length: list[int] = []

    def add(self, start: int, end: int, became: int, length: int) -> None:
        """Another piece; one that goes on where the last one ends is the same."""
        if self.until and self._goes_on(start, end, became, length):
            self.until[-1] = end
            self.length[-1] += length
            return
        self.from_.append(start)
        self.until.append(end)
        self.became.append(became)
        self.length.append(length)

    def at(self, piece: int, place: int) -> int:
        """A place of the markdown in the text: within this piece, or at its nearer end."""
        length = self.length[piece]
        inside = place - self.from_[piece] if place < self.until[piece] else length
        return self.became[piece] + min(max(inside, 0), length)

    def _goes_on(self, start: int, end: int, became: int, length: int) -> bool:
        return (
            start == self.until[-1]
            and became == self.became[-1] + self.length[-1]
            and end - start == length
            and self.until[-1] - self.from_[-1] == self.length[-1]
        )


class Prose(NamedTuple):
    """What a markdown says."""

    text: str
    parts: tuple[Part, ...]
    pieces: _Pieces

    def carried(self, start: int, end: int) -> Span | None:
        """Where in the text a range of the markdown is; None where none of it can be read."""
        pieces = self.pieces
        first = bisect_right(pieces.until, start)
        last = bisect_left(pieces.from_, end) - 1
        if first > last:
            return None
        span = Span(pieces.at(first, start), pieces.at(last, end))
        return span if span.start < span.end else None


def read(markdown: str) -> Prose:
    """The text of any markdown at all: nothing is malformed.

    Lone surrogates, which no encoding knows, are replaced one for one.
    """
    reader = _Reader(markdown if markdown.isascii() else _SURROGATE.sub(_REPLACEMENT, markdown))
    event: Any  # one name, alone or with what it is about
    for event, place in pyromark.events_with_range(reader.markdown, options=_OPTIONS):
        if isinstance(event, str):
            if event in _BREAKS:
                reader.write("\n", place)
            continue
        ((name, said),) = event.items()
        if name == "Start":
            reader.start(said)
        elif name == "End":
            reader.end()
        else:
            reader.write(said, place)
    return Prose("".join(reader.text), tuple(reader.parts), reader.pieces)


class _Reader:
    """Puts the text together, event by event."""

    def __init__(self, markdown: str) -> None:
        self.markdown = markdown
        self.text: list[str] = []
        self.parts: list[Part] = []
        self.pieces = _Pieces()
        self._bytes = None if markdown.isascii() else markdown.encode()
        self._byte, self._point = 0, 0  # the same place of the markdown, counted both ways
        self._length = 0
        self._gap = ""  # goes before whatever is written next
        self._marked = False  # whether an item's mark is in the gap
        self._begun: int | None = None  # where the part that is open has its first character
        self._open: list[str] = []
        self._numbers: list[int | None] = []  # of each open list: of its next item
        self._cells = 0  # of the row

    def start(self, said: Any) -> None:
        """A block, or a style within one, begins."""
        kind, about = (said, None) if isinstance(said, str) else next(iter(said.items()))
        if kind == "Item":
            self._gap = self._item()
            self._marked = True
        elif kind == "TableCell":
            self._gap += " | " if self._cells else ""
            self._cells += 1
        elif kind in _LINES:
            self._gap = self._gap or ("\n" if self._open else "\n\n") if self._length else self._gap
            self._cells = 0
        if kind == "List":
            self._numbers.append(about)
        if not self._open:
            self._begun = None
        self._open.append(kind)

    def end(self) -> None:
        """What began last ends."""
        kind = self._open.pop()
        if kind == "List":
            self._numbers.pop()
        if not self._open:
            self._gap, self._marked = "", False
            if self._begun is not None:
                self.parts.append(Part(_KINDS[kind], Span(self._begun, self._length)))

    def write(self, words: str, place: "Range") -> None:
        """Characters that can be read; line ends after them wait for what follows."""
        said = words.rstrip("\n")
        if said:
            if self._begun is None:  # an item's mark is of the part, the line ends before it not
                self._begun = self._length + len(self._gap) - len(self._gap.lstrip("\n"))
            if self._gap:
                self._add(self._gap)
                self._gap, self._marked = "", False
            start, end = self._source(said, place["start"], place["end"])
            self.pieces.add(start, end, self._length, len(said))
            self._add(said)
        if len(said) < len(words) and self._begun is not None:
            self._gap += words[len(said) :]

    def _item(self) -> str:
        number = self._numbers[-1]
        mark = "- "
        if number is not None:
            mark = f"{number}. "
            self._numbers[-1] = number + 1
        if self._marked:
            return self._gap + mark
        before = self._gap or ("\n" if self._length else "")
        return before + _INDENT * (len(self._numbers) - 1) + mark

    def _source(self, said: str, start: int, end: int) -> tuple[int, int]:
        """The range of the markdown, in code points, that says this; its bytes are given."""
        if self._bytes is None:
            written = self.markdown[start:end]
        else:
            self._point += len(self._bytes[self._byte : start].decode())
            written = self._bytes[start:end].decode()
            self._byte, start = start, self._point
        if len(written) > len(said) and (within := written.find(said)) >= 0:
            return start + within, start + within + len(said)
        return start, start + len(written)

    def _add(self, words: str) -> None:
        self.text.append(words)
        self._length += len(words)
