"""What somebody who watches a parent has seen of it, and what is new to them. Pure.

The id of an event is all that was seen once it was: the run and status of the parent, and of each
cell its status and attempts. Whoever comes back with it is told the difference, by any process.
"""

import base64
import zlib
from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args
from uuid import UUID

from orchestrator.domain.documents import ChildSummary, JobRead, ParentJob
from orchestrator.domain.states import ChildStatus, ParentState, ParentStatus

_PARENTS: tuple[ParentStatus, ...] = get_args(ParentStatus)
_CHILDREN: tuple[ChildStatus, ...] = get_args(ChildStatus)
_ATTEMPTS = 42
"""So many numbers of attempts are told apart in the byte of a cell; more count as the last."""
_SHORT = 64
"""Bytes that are not worth compressing."""
_PLAIN, _PACKED = b"p", b"z"
_RAW = -15
"""Deflated without a head and a checksum: an id has its own."""


class Seen(NamedTuple):
    """What was seen of a parent; `run` 0: nothing. A byte per cell in their order, 0: not seen."""

    run: int
    status: ParentStatus | None
    cells: bytes


class Event(NamedTuple):
    """A change of a child or of its parent, and the id that stands for all seen up to it."""

    name: Literal["child", "parent"]
    data: ChildSummary | ParentJob
    id: str


def nothing(cells: int) -> Seen:
    """What is seen of a parent of so many cells before the first event."""
    return Seen(0, None, bytes(cells))


def of(read: JobRead) -> Seen:
    """All there is to see in a read."""
    return Seen(read.job.run, read.job.status, bytes(map(_cell, read.children)))


def ended(read: JobRead) -> bool:
    """True when no event can follow, short of a retry."""
    return ParentState(read.job.status).ended


def since(seen: Seen, read: JobRead, parent: UUID) -> Iterator[Event]:
    """What a read shows beyond what was seen, each cell that changed once, then the parent."""
    cells = bytearray(seen.cells)
    for place, child in enumerate(read.children):
        if cells[place] != (now := _cell(child)):
            cells[place] = now
            yield Event("child", child, text(seen._replace(cells=bytes(cells)), parent))
    if (seen.run, seen.status) != (read.job.run, read.job.status):
        yield Event("parent", read.job, text(of(read), parent))


def _cell(child: ChildSummary) -> int:
    return 1 + _CHILDREN.index(child.status) * _ATTEMPTS + min(child.attempts, _ATTEMPTS - 1)


def text(seen: Seen, parent: UUID) -> str:
    """The id that stands for what was seen of this parent: url-safe, and short where it can be."""
    status = 0 if seen.status is None else 1 + _PARENTS.index(seen.status)
    raw = seen.run.to_bytes(4) + bytes([status]) + seen.cells
    checked = _check(parent, raw) + raw
    packed = _PLAIN + checked if len(raw) < _SHORT else _PACKED + zlib.compress(checked, 1, _RAW)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read(given: str, parent: UUID, cells: int) -> Seen | None:
    """What an id stands for; None when it is none of this parent, which has so many cells."""
    whole = _unpacked(given, cells + 9)
    if whole is None or len(whole) != cells + 9 or _check(parent, whole[4:]) != whole[:4]:
        return None
    run, status, seen = int.from_bytes(whole[4:8]), whole[8], whole[9:]
    if status > len(_PARENTS):
        return None
    return Seen(run, _PARENTS[status - 1] if status else None, seen)


def _unpacked(given: str, most: int) -> bytes | None:
    """The bytes behind an id, at most one more than there may be."""
    try:
        padded = given.encode() + b"=" * (-len(given) % 4)
        packed = base64.b64decode(padded, altchars=b"-_", validate=True)
        if packed[:1] == _PACKED:
            return zlib.decompressobj(_RAW).decompress(packed[1:], most + 1)
    except (ValueError, zlib.error):
        return None
    return packed[1:] if packed[:1] == _PLAIN else None


def _check(parent: UUID, raw: bytes) -> bytes:
    """Tells an id of this parent from any other text; it keeps nothing secret."""
    return zlib.crc32(parent.bytes + raw).to_bytes(4)
