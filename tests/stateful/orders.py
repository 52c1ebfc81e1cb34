"""What is asked of jobs that were taken in, and what each is told."""

from collections.abc import Sequence
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from admission import gate, reservations
from admission.budget import Short
from admission.deciding import Stored
from admission.keys import Key
from admission.pace import Pace
from admission.refusals import Refusal
from orchestrator import preflight
from orchestrator.api import reading
from orchestrator.domain.preflight import Jobs, Preflight
from orchestrator.preflight import Asker, Crowded
from orchestrator.store import group_actions, groups, steering, strands
from orchestrator.store.steering import (
    RETRYABLE,
    Again,
    Canceled,
    Erased,
    NotCancelable,
    NotEnded,
    NotRetryable,
)
from tests.stateful import looking
from tests.stateful.prices import COSTS

LONG_SECONDS = 100_000.0
RESERVED = "chat"
"""Of this surface are the submissions to come."""


class Cancel(NamedTuple):
    """A parent, or one cell of it."""

    key: Key
    parent: UUID
    ordinal: int | None = None

    async def carry_out(self, connection: AsyncConnection) -> Canceled | NotCancelable | None:
        named = {"parent": self.parent, "ordinal": self.ordinal}
        async with connection.transaction():
            return await steering.cancel(connection, key_id=self.key.id, **named)


class Clear(NamedTuple):
    """All of a key that has not started; told how many."""

    key: Key

    async def carry_out(self, connection: AsyncConnection) -> int:
        before = await steering.clock(connection)
        cleared = 0
        for state in steering.CLEARED:
            named = {"key_id": self.key.id, "state": state, "before": before}
            async with connection.transaction():
                cleared += (await steering.clear(connection, **named)).parents
        return cleared


class Retried(NamedTuple):
    """The next run has begun."""


class Retry(NamedTuple):
    """The next run of a parent, for some of its cells."""

    key: Key
    parent: UUID
    statuses: Sequence[str] = RETRYABLE
    ordinal: int | None = None

    async def carry_out(
        self, connection: AsyncConnection
    ) -> Retried | NotRetryable | Short | Refusal | None:
        named = {"statuses": self.statuses, "ordinal": self.ordinal}
        async with connection.transaction():
            found = await steering.retryable(
                connection, key_id=self.key.id, parent=self.parent, **named
            )
            if not isinstance(found, Again):
                return found
            demand = found.demand(self.key.id)
            admitted = await gate.enter(connection, demand, strands.resumes)
            if not isinstance(admitted, Stored):
                return admitted
            await steering.again(connection, found)
            return Retried()


class Erase(NamedTuple):
    """An ended parent."""

    key: Key
    parent: UUID

    async def carry_out(self, connection: AsyncConnection) -> Erased | NotEnded | None:
        async with connection.transaction():
            return await steering.erase(connection, key_id=self.key.id, parent=self.parent)


class Read(NamedTuple):
    """A parent as a client reads it, as of one moment; told how many cells that shows."""

    key: Key
    parent: UUID

    async def carry_out(self, connection: AsyncConnection) -> int | None:
        async with looking.one_moment(connection):
            found = await reading.job(connection, key_id=self.key.id, parent=self.parent)
        return sum(msgspec.structs.astuple(found.job.counts)) if found else None


class OfGroup(NamedTuple):
    """Of all a group has now; told how many parents that is for, or that there is no such group."""

    key: Key
    group: str
    kind: Literal["cancel", "retry"]
    statuses: Sequence[str] = RETRYABLE

    async def carry_out(self, connection: AsyncConnection) -> int | None:
        name = (self.key.id, self.group)
        async with connection.transaction():
            group = (await groups.find(connection, [name])).get(name)
            if group is None or not await groups.inhabited(connection, group):
                return None
            named = {"kind": self.kind, "statuses": self.statuses}
            return await group_actions.request(
                connection, key_id=self.key.id, group_id=group, **named
            )


class Reserve(NamedTuple):
    """Places for submissions to come."""

    key: Key
    places: int

    async def carry_out(self, connection: AsyncConnection) -> Preflight | Crowded:
        asker = Asker(self.key, Pace(), 0)
        jobs = Jobs(n=self.places, cells=1, credits=COSTS[RESERVED])
        async with connection.transaction():
            return await preflight.reserve(connection, asker, jobs, seconds=LONG_SECONDS)


class GiveBack(NamedTuple):
    """What is left of a reservation; told whether it lived."""

    key: Key
    reservation: UUID

    async def carry_out(self, connection: AsyncConnection) -> bool:
        async with connection.transaction():
            return await reservations.cancel(connection, self.key.id, self.reservation)


Order = Cancel | Clear | Retry | Erase | Read | OfGroup | Reserve | GiveBack
