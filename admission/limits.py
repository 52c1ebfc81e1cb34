"""The limits of a key. Nothing is unlimited."""

from typing import NamedTuple


class Limits(NamedTuple):
    """What one key may take.

    Units: requests a minute, sync callers at once, parents waiting, children running, share of the
    workers relative to other keys.
    """

    requests_per_minute: int = 600
    sync_limit: int = 8
    queue_capacity: int = 1_000
    concurrency: int = 50
    weight: float = 1.0
