"""What a submission would take."""

from typing import NamedTuple


class Demand(NamedTuple):
    """Places in the admission queue of one key."""

    key_id: int
    places: int = 1
