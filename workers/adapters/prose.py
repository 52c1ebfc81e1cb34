"""Markdown as people read it: its plain text, its blocks, and where each character came from.

A provider's citations point into its markdown; an Envelope's point into the plain text. Both count
Unicode code points, so that a position is carried over exactly, past emphasis, links and escapes.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import pyromark

if TYPE_CHECKING:
    from pyromark.event import Range

_OPTIONS = pyromark.Options.ENABLE_TABLES | pyromark.Options.ENABLE_STRIKETHROUGH
_STYLES = frozenset({"Emphasis", "Strong", "Strikethrough", "Link", "Image"})
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
_ROWS = frozenset({"TableHead", "TableRow"})
_LINES = frozenset({*_KINDS, *_ROWS})
"""What begins on a line of its own."""
_INDENT = "  "
_WORD = re.compile(r"[^\s|]+|\|")
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


_Piece = tuple[int, int, int, int]
"""A range of the markdown; where in the text it went, and its length there."""
_START, _END = itemgetter(0), itemgetter(1)


class Prose(NamedTuple):
    """What a markdown says."""

    text: str
    parts: tuple[Part, ...]
    pieces: Sequence[_Piece]

    def carried(self, start: int, end: int) -> Span | None:
        """Where in the text a range of the markdown is; None where none of it can be read."""
        first = bisect_right(self.pieces, start, key=_END)
        last = bisect_left(self.pieces, end, key=_START) - 1
        if first > last:
            return None
        span = Span(_at(self.pieces[first], start), _at(self.pieces[last], end))
        return span if span.start < span.end else None


def _at(piece: _Piece, place: int) -> int:
    """A place of the markdown in the text: within this piece, or at its nearer end."""
    start, end, became, length = piece
    inside = place - start if place < end else length
    return became + min(max(inside, 0), length)


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
            kind, about = (said, None) if isinstance(said, str) else next(iter(said.items()))
            if kind not in _STYLES:
                reader.start(kind, about)
        elif name != "End":
            reader.write(said, place)
        elif not isinstance(said, str) or said not in _STYLES:
            reader.end()
    return Prose("".join(reader.text), tuple(reader.parts), reader.pieces)


class _Reader:
    """Puts the text together, event by event."""

    def __init__(self, markdown: str) -> None:
        self.markdown = markdown
        self.text: list[str] = []
        self.parts: list[Part] = []
        self.pieces: list[_Piece] = []
        self._bytes = None if markdown.isascii() else markdown.encode()
        self._byte, self._point = 0, 0  # the same place of the markdown, counted both ways
        self._length = 0
        self._gap: list[str] = []  # goes before whatever is written next
        self._begun: int | None = None  # where the part that is open has its first character
        self._open: list[str] = []
        self._numbers: list[int | None] = []  # of each open list: of its next item
        self._before: list[
            tuple[int, int]
        ] = []  # of each open item or row: lengths of text and gap
        self._cells = 0  # of the row

    def start(self, kind: str, about: Any) -> None:
        """A block, an item, a row or a cell begins."""
        if not self._open:
            self._begun = None
        self._open.append(kind)
        if kind in _LINES and self._length and not self._gap:
            self._gap.append("\n" if len(self._open) > 1 else "\n\n")
        if kind == "Item":
            self._item()
        elif kind == "List":
            self._numbers.append(about)
        elif kind in _ROWS:
            self._cells = 0
            self._before.append((self._length, len(self._gap)))
        elif kind == "TableCell":
            if self._cells:
                self._gap.append(" | ")
            self._cells += 1

    def end(self) -> None:
        """What began last ends."""
        kind = self._open.pop()
        if kind == "List":
            self._numbers.pop()
        elif kind == "Item" or kind in _ROWS:
            length, gap = self._before.pop()
            if length == self._length:  # there is nothing in it
                del self._gap[gap:]
            elif kind in _ROWS:  # its last cells are empty
                self._gap.clear()
        if not self._open:
            self._gap.clear()
            if self._begun is not None:
                self.parts.append(Part(_KINDS[kind], Span(self._begun, self._length)))

    def write(self, words: str, place: "Range") -> None:
        """Characters that can be read; line ends after them wait for what follows."""
        said = words.rstrip("\n")
        if said:
            if self._gap or self._begun is None:
                self._bridge()
            start, end = place["start"], place["end"]
            if self._bytes is not None:
                start, end = self._points(self._bytes, start, end)
            length = len(said)
            if end - start <= length:
                self.pieces.append((start, end, self._length, length))
            else:
                self._carry(said, start, end)
            self.text.append(said)
            self._length += length
        if len(said) < len(words) and self._begun is not None:
            self._gap.append(words[len(said) :])

    def _bridge(self) -> None:
        """The gap is written: an item's mark is of the part, the line ends before it are not."""
        gap = "".join(self._gap)
        self._gap.clear()
        if self._begun is None:
            self._begun = self._length + len(gap) - len(gap.lstrip("\n"))
        self.text.append(gap)
        self._length += len(gap)

    def _points(self, encoded: bytes, start: int, end: int) -> tuple[int, int]:
        """A range of the markdown in code points, its bytes are given; ranges come in order."""
        point = self._point + len(encoded[self._byte : start].decode())
        self._byte, self._point = end, point + len(encoded[start:end].decode())
        return point, self._point

    def _item(self) -> None:
        """Its mark goes after that of the item it is the first line of, or on a line of its own."""
        first = bool(self._before) and self._before[-1][0] == self._length
        self._before.append((self._length, len(self._gap)))
        if not first:
            if self._length and not self._gap:
                self._gap.append("\n")
            self._gap.append(_INDENT * (len(self._numbers) - 1))
        number = self._numbers[-1]
        self._gap.append("- " if number is None else f"{number}. ")
        self._numbers[-1] = None if number is None else number + 1

    def _carry(self, said: str, start: int, end: int) -> None:
        """Note which characters of a longer range of the markdown say this.

        Code that goes over lines, or has a bar in a table, is the same word by word; a character
        that is written by its name is the whole range.
        """
        within = self.markdown.find(said, start, end)
        if within >= 0:
            self.pieces.append((within, within + len(said), self._length, len(said)))
            return
        known = len(self.pieces)
        at = start
        while self.markdown[at] == "`":
            at += 1
        for word in _WORD.finditer(said):
            if (within := self.markdown.find(word[0], at, end)) >= 0:
                at = within + len(word[0])
                self.pieces.append((within, at, self._length + word.start(), len(word[0])))
        if len(self.pieces) == known:
            self.pieces.append((start, end, self._length, len(said)))
