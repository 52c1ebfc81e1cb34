"""The limits of a key. Nothing is unlimited but its quotas, where there are none."""

from typing import NamedTuple


class Limits(NamedTuple):
    """What one key may take.

    Units: requests a minute, sync callers at once, parents waiting, children running, share of the
    workers relative to other keys; cells admitted in a day and in a month of UTC, None for any.
    Cells of a key that does not `coalesce` share no upstream call with another.
    """

    requests_per_minute: int = 600
    sync_limit: int = 8
    queue_capacity: int = 1_000
    concurrency: int = 50
    weight: float = 1.0
    quota_daily: int | None = None
    quota_monthly: int | None = None
    coalesce: bool = True
