"""What a submission would take."""

from typing import NamedTuple


class Demand(NamedTuple):
    """Places in the admission queue of one key, and callers who wait on its sync budget.

    Of several demands with the same idempotency key of one key, one is admitted; the others are
    told of it.
    """

    key_id: int
    places: int = 1
    callers: int = 0
    idempotency_key: str | None = None
