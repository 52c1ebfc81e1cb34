"""Public ids: a prefix + the 16 bytes of a uuid7 in base32hex, which sorts as the bytes do."""

import base64
import binascii
import re
import uuid
from typing import NamedTuple

from uuid_utils import compat

PREFIX = "job_"
RESERVATION = "res_"
DELIVERY = "dlv_"
EVENT = "evt_"
WEBHOOK_SECRET = "whs_"  # noqa: S105 - the beginning of an id
_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_RESERVATION = re.compile(r"res_[0-9a-v]{26}")
_WEBHOOK_SECRET = re.compile(r"whs_[0-9a-v]{26}")
_DELIVERY = re.compile(r"dlv_[0-9a-v]{36}")
_PARENT = re.compile(r"job_[0-9a-v]{26}")
_CHILD = re.compile(r"(job_[0-9a-v]{26})\.([a-z][a-z0-9_]{0,39})\.([a-z0-9_-]{1,255})")


class ParentId(NamedTuple):
    """The public id of a parent, read."""

    parent: uuid.UUID


class EventId(NamedTuple):
    """What an event is about: a child that ended in a run of its parent; ordinal 0: the parent.

    It is told by one delivery, whose public id has the same letters.
    """

    parent: uuid.UUID
    ordinal: int
    run: int


class ChildId(NamedTuple):
    """The public id of a child, read: its parent, its surface and its region token."""

    parent: uuid.UUID
    surface: str
    region: str


def new() -> uuid.UUID:
    """The id of something new: uuid7, so that keys grow with time."""
    return compat.uuid7()


def text(parent: uuid.UUID) -> str:
    """The public id of a parent: 30 characters, url-safe, sortable by time, without dots."""
    return PREFIX + _letters(parent)


def reservation_text(reservation: uuid.UUID) -> str:
    """The public id of a reservation, made as a parent's is."""
    return RESERVATION + _letters(reservation)


def webhook_secret_text(secret: uuid.UUID) -> str:
    """The public id of a webhook secret, made as a parent's is."""
    return WEBHOOK_SECRET + _letters(secret)


def _letters(made: uuid.UUID) -> str:
    bits = made.int << 2  # 128 bits and two spare ones: 13 times ten
    return "".join([_PAIRS[bits >> place & 1023] for place in range(120, -1, -10)])


def child_text(parent: str, surface: str, region: str) -> str:
    """The public id of a child of the parent with this public id."""
    return f"{parent}.{surface}.{region}"


def event_text(event: EventId) -> str:
    """The public id of an event, equal whenever it is told."""
    return EVENT + _event_letters(event)


def delivery_text(event: EventId) -> str:
    """The public id of the delivery of this event."""
    return DELIVERY + _event_letters(event)


def _event_letters(event: EventId) -> str:
    bits = (event.parent.int << 48 | event.ordinal << 32 | event.run) << 4  # and four spare ones
    return "".join([_PAIRS[bits >> place & 1023] for place in range(170, -1, -10)])


def read_delivery(delivery: str) -> EventId | None:
    """The event whose delivery a client names, or None when none can have this id."""
    if not _DELIVERY.fullmatch(delivery):
        return None
    raw = base64.b32hexdecode(delivery[len(DELIVERY) :].upper() + "====")
    parts = uuid.UUID(bytes=raw[:16]), int.from_bytes(raw[16:18]), int.from_bytes(raw[18:])
    event = EventId(*parts)
    stored = event.ordinal < 1 << 15 and event.run < 1 << 31  # both have a sign there
    return event if stored and delivery_text(event) == delivery else None  # spare bits: `_uuid`


def read(job: str) -> ParentId | ChildId | None:
    """The id a client sent, or None when no job can have it."""
    if _PARENT.fullmatch(job):
        parent = _uuid(job)
        return ParentId(parent) if parent else None
    if match := _CHILD.fullmatch(job):
        parent = _uuid(match[1])
        return ChildId(parent, match[2], match[3]) if parent else None
    return None


def read_reservation(reservation: str) -> uuid.UUID | None:
    """The reservation a client names, or None when none can have this id."""
    return _uuid(reservation) if _RESERVATION.fullmatch(reservation) else None


def read_webhook_secret(secret: str) -> uuid.UUID | None:
    """The webhook secret a client names, or None when none can have this id."""
    return _uuid(secret) if _WEBHOOK_SECRET.fullmatch(secret) else None


def _uuid(public: str) -> uuid.UUID | None:
    letters = public[len(PREFIX) :]
    try:
        raw = base64.b32hexdecode(letters.upper() + "======")
    except binascii.Error:
        return None
    made = uuid.UUID(bytes=raw)
    return made if _letters(made) == letters else None  # the last character has spare bits
