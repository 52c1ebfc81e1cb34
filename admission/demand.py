"""What a submission would take."""

from typing import NamedTuple
from uuid import UUID


class Demand(NamedTuple):
    """Places in the admission queue of one key, and callers who wait on its sync budget.

    Of several demands with the same idempotency key of one key, one is admitted; the others are
    told of it. It is for so many `cells`, which may cost `credits`, of which `most_credits` (None:
    any) are allowed. Places come from the `reservation` first, when it is the key's and lives.
    """

    key_id: int
    places: int = 1
    callers: int = 0
    idempotency_key: str | None = None
    cells: int = 1
    credits: int = 0
    most_credits: int | None = None
    reservation: UUID | None = None

    @property
    def name(self) -> tuple[int, str] | None:
        """What it is known again by, over all keys."""
        return None if self.idempotency_key is None else (self.key_id, self.idempotency_key)
