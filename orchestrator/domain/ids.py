"""Public ids: `job_` + the 16 bytes of a uuid7 in base32hex, which sorts as the bytes do."""

import base64
import binascii
import re
import uuid
from typing import NamedTuple

from uuid_utils import compat

PREFIX = "job_"
_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_PARENT = re.compile(r"job_[0-9a-v]{26}")
_CHILD = re.compile(r"(job_[0-9a-v]{26})\.([a-z][a-z0-9_]{0,39})\.([a-z0-9_-]{1,255})")


class ParentId(NamedTuple):
    """The public id of a parent, read."""

    parent: uuid.UUID


class ChildId(NamedTuple):
    """The public id of a child, read: its parent, its surface and its region token."""

    parent: uuid.UUID
    surface: str
    region: str


def new() -> uuid.UUID:
    """A new parent's id: uuid7, so that keys grow with time."""
    return compat.uuid7()


def text(parent: uuid.UUID) -> str:
    """The public id of a parent: 30 characters, url-safe, sortable by time, without dots."""
    bits = parent.int << 2  # 128 bits and two spare ones: 13 times ten
    return PREFIX + "".join([_PAIRS[bits >> place & 1023] for place in range(120, -1, -10)])


def child_text(parent: str, surface: str, region: str) -> str:
    """The public id of a child of the parent with this public id."""
    return f"{parent}.{surface}.{region}"


def read(job: str) -> ParentId | ChildId | None:
    """The id a client sent, or None when no job can have it."""
    if _PARENT.fullmatch(job):
        parent = _uuid(job)
        return ParentId(parent) if parent else None
    if match := _CHILD.fullmatch(job):
        parent = _uuid(match[1])
        return ChildId(parent, match[2], match[3]) if parent else None
    return None


def _uuid(job: str) -> uuid.UUID | None:
    try:
        raw = base64.b32hexdecode(job.removeprefix(PREFIX).upper() + "======")
    except binascii.Error:
        return None
    parent = uuid.UUID(bytes=raw)
    return parent if text(parent) == job else None  # the last character has spare bits
