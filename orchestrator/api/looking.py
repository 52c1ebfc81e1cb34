"""What the watcher of this process looks at: the parents and the snapshots that are watched."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection, Hashable, Mapping
from functools import partial
from typing import NamedTuple
from uuid import UUID

import msgspec
from psycopg_pool import AsyncConnectionPool

from admission.book import Book
from admission.lots import Lot
from orchestrator import db, snapshot
from orchestrator.api import reading
from orchestrator.domain.documents import JobRead
from orchestrator.domain.snapshot import Snapshot
from orchestrator.store import watchers
from orchestrator.watching import News


class Job(NamedTuple):
    """A parent that is watched, and the key it is of."""

    key_id: int
    parent: UUID


class Looking:
    """The looks of a process."""

    def __init__(self, pool: AsyncConnectionPool, *, rates: Book, node: Callable[[], int]) -> None:
        self._pool = pool
        self._rates = rates
        self._node = node

    async def jobs(
        self,
        seen: Mapping[Job, Collection[Hashable]],
        tell: Callable[[Job, News[JobRead]], None],
    ) -> None:
        """All parents in one statement, and a read of each that has changed."""
        async with self._pool.connection() as connection:
            versions = await watchers.versions(connection, [job.parent for job in seen])
        for job, had in seen.items():
            version = versions.get(job.parent)
            if set(had) != {version}:
                tell(job, News(version, await self._job(job) if version else None))

    async def _job(self, job: Job) -> JobRead | None:
        async with db.one_moment(self._pool) as connection:
            return await reading.job(connection, key_id=job.key_id, parent=job.parent)

    async def snapshots(
        self,
        seen: Mapping[Lot, Collection[Hashable]],
        tell: Callable[[Lot, News[bytes]], None],
    ) -> None:
        """The snapshot of each key, whose lot stands for it whatever it is called or limited to.

        Its version is a digest of what does not move by itself.
        """
        for lot, had in seen.items():
            async with self._pool.connection() as connection:
                taken = await snapshot.take(
                    connection,
                    lot.key_id,
                    node=self._node(),
                    observe=partial(self._rates.observe, lot),
                )
            version = digest(taken)
            if set(had) != {version}:
                tell(lot, News(version, msgspec.json.encode(taken)))


def digest(taken: Snapshot) -> str:
    """The same as long as nothing but times, rates and tokens has changed, which move on alone."""
    replace = msgspec.structs.replace
    queue = replace(taken.admission_queue, drain_per_second=0.0, oldest_age_seconds=None)
    rate = replace(taken.request_rate, remaining=0, reset_at="")
    still = replace(taken, admission_queue=queue, request_rate=rate, as_of="")
    hashed = hashlib.blake2b(msgspec.json.encode(still), digest_size=15).digest()
    return urlsafe_b64encode(hashed).decode()
