"""Bodies that come bit by bit: their lines, and the server-sent events those make (pure)."""

from collections.abc import Iterator
from typing import NamedTuple


class ServerEvent(NamedTuple):
    """A server-sent event: its name, the id to come back with, and its data."""

    name: str
    id: str
    data: bytes


class Lines:
    """Puts lines together from parts of any size; holds one line.

    Only a line feed ends one: the other line breaks of Unicode may stand inside JSON.
    """

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def feed(self, part: bytes) -> Iterator[bytes]:
        """The lines that end in this part, without their ends."""
        *ended, rest = part.split(b"\n")
        for line in ended:
            yield b"".join((*self._held, line))
            self._held.clear()
        if rest:
            self._held.append(rest)


class Events:
    """Puts events together from parts of any size; comments and what was cut off are none."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._fields: dict[bytes, bytes] = {}

    def feed(self, part: bytes) -> Iterator[ServerEvent]:
        """The events that end in this part."""
        for line in self._lines.feed(part):
            if line:
                name, _, value = line.partition(b":")
                self._fields[name] = value.removeprefix(b" ")
                continue
            fields, self._fields = self._fields, {}
            if (data := fields.get(b"data")) is not None:
                name, id_ = fields.get(b"event", b""), fields.get(b"id", b"")
                yield ServerEvent(name.decode(), id_.decode(), data)
