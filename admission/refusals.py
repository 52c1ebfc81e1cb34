"""Typed noes: each names the limit it met and the snapshot field to watch."""

from enum import StrEnum
from typing import NamedTuple


class RefusalCode(StrEnum):
    """The codes of a refusal, as clients see them."""

    RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"
    CONCURRENCY_LIMIT_EXCEEDED = "CONCURRENCY_LIMIT_EXCEEDED"
    QUEUE_CAPACITY_EXCEEDED = "QUEUE_CAPACITY_EXCEEDED"


class Watch(StrEnum):
    """The field of the snapshot that a refusal is about."""

    REQUEST_RATE = "requestRate"
    SYNC_CONCURRENCY = "syncConcurrency"
    ADMISSION_QUEUE = "admissionQueue"


class Taken(NamedTuple):
    """What a key has taken as it is refused: sync callers of how many, and queue places."""

    sync_limit: int
    sync_running: int
    depth: int


class Refusal(NamedTuple):
    """Nothing was taken. Come back after `retry_after_seconds` (1 to 60)."""

    code: RefusalCode
    watch: Watch
    limit: int
    current: int
    requested: int
    retry_after_seconds: int
    taken: Taken
