"""The places of some keys within one transaction: each who asks meets what those before it took."""

import random
from collections.abc import Mapping
from uuid import UUID

from admission.budget import Short
from admission.demand import Demand
from admission.policy import Refused, Usage, decide
from admission.refusals import Refusal


class Places:
    """What the keys have taken, as their locks returned it and as it is after each demand."""

    def __init__(self, locked: Mapping[int, Usage]) -> None:
        self._locked = locked
        self._now = dict(locked)
        self._refused: set[int] = set()

    def short(self, demand: Demand) -> Short | None:
        """What of its key's budget there is too little of for a demand."""
        return self._now[demand.key_id].budget.short(demand)

    def take(self, demand: Demand) -> Refusal | None:
        """Take them, or say what was met instead; several that can never fit are promised none."""
        before = self._now[demand.key_id]
        decision = decide(demand, before, chance=random.random())  # noqa: S311 - it spreads
        if not isinstance(decision, Refused):
            self._now[demand.key_id] = decision.usage
            return None
        if demand.places <= max(1, before.capacity):
            self._now[demand.key_id] = decision.usage
            self._refused.add(demand.key_id)
        return decision.refusal

    def lacking(self, demand: Demand) -> Refusal | None:
        """Why its places are not all free, which promises it some; None, and nothing is taken."""
        before = dict(self._now)
        refusal = self.take(demand)
        if refusal is None:
            self._now = before
        return refusal

    def attend(self, demand: Demand) -> bool:
        """Take a sync place for each of its callers if they are free; a no promises nothing."""
        free = demand._replace(places=0, cells=0, credits=0)
        decision = decide(free, self._now[demand.key_id])
        if isinstance(decision, Refused):
            return False
        self._now[demand.key_id] = decision.usage
        return True

    def reserved(self, demand: Demand) -> int | None:
        """What is left of the reservation it names; None when the key has no such live one."""
        if demand.reservation is None:
            return None
        return self._now[demand.key_id].reservations.get(demand.reservation)

    def drawn(self) -> dict[UUID, int]:
        """The places left of each reservation that was drawn on."""
        return {
            reservation: left
            for key, before in self._locked.items()
            for reservation, left in self._now[key].reservations.items()
            if left != before.reservations[reservation]
        }

    def promised(self) -> dict[int, Usage]:
        """The keys that were refused, in order, with what they are promised."""
        return {key: self._now[key] for key in sorted(self._refused)}
