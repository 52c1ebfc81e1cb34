"""Typed noes: each names the limit it met and the snapshot field to watch."""

from enum import StrEnum
from typing import NamedTuple


class RefusalCode(StrEnum):
    """The codes of a refusal, as clients see them."""

    QUEUE_CAPACITY_EXCEEDED = "QUEUE_CAPACITY_EXCEEDED"


class Watch(StrEnum):
    """The field of the snapshot that a refusal is about."""

    ADMISSION_QUEUE = "admissionQueue"


class Admitted(NamedTuple):
    """The demand holds its places; `depth` counts them too."""

    depth: int


class Refusal(NamedTuple):
    """Nothing was taken. Come back after `retry_after_seconds` (1 to 60)."""

    code: RefusalCode
    watch: Watch
    limit: int
    current: int
    requested: int
    retry_after_seconds: int
