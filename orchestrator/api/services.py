"""What the handlers stand on; opened once for the life of the application and handed down."""

import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

import anyio
from anyio import to_thread
from litestar import Litestar
from litestar.types import Scope
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from admission.book import Book
from admission.keys import Key
from admission.lots import Lot
from admission.pace import Pace
from admission.refusals import Taken
from orchestrator import db
from orchestrator.api import catalogue
from orchestrator.api.between import Rules
from orchestrator.api.cached import Cached
from orchestrator.api.catalogue import Catalogue
from orchestrator.api.looking import Job, Looking
from orchestrator.api.traffic import Traffic
from orchestrator.domain.dialects.rodin import Load
from orchestrator.domain.documents import JobRead
from orchestrator.heartbeat import Heartbeat
from orchestrator.patience import DATABASE_AWAY
from orchestrator.settings import Settings
from orchestrator.store import lanes, nodes
from orchestrator.store.nodes import NewNode
from orchestrator.submission import Submitter
from orchestrator.vault import Vault
from orchestrator.waits import Waits
from orchestrator.watchers import Watchers
from orchestrator.watching import Watching

MOST_CONNECTIONS = 8
KEY_SECONDS = 2.0
"""How long a revoked secret may still open the door, and a changed limit go unseen here."""
MOST_KEYS = 10_000
CATALOGUE_SECONDS = 1.0
LOAD_SECONDS = 1.0
EVERYBODY = 0
"""Whose load is everybody's; keys count from 1."""
TAKEN_SECONDS = 1.0
"""How old the numbers beside a refused rate may be: many of those cost next to nothing."""
HEARTBEAT_SECONDS = 15.0
"""How long a stream is silent before it says that it is still there."""
LEAVE_SECONDS = 2.0
"""How long a process that ends waits for a connection to say so."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """The database, the door and what is remembered of either for a moment."""

    settings: Settings
    pool: AsyncConnectionPool
    presence: Heartbeat
    submitter: Submitter
    waits: Waits
    pace: Pace
    rates: Book
    watchers: Watchers
    jobs: Watching[Job, JobRead]
    snapshots: Watching[Lot, bytes]
    traffic: Traffic
    vault: Vault
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    keys: Cached[bytes, Key] = field(
        default_factory=lambda: Cached(seconds=KEY_SECONDS, largest=MOST_KEYS)
    )
    taken: Cached[int, Taken] = field(
        default_factory=lambda: Cached(seconds=TAKEN_SECONDS, largest=MOST_KEYS)
    )
    catalogues: Cached[str, Catalogue] = field(
        default_factory=lambda: Cached(seconds=CATALOGUE_SECONDS, largest=1)
    )
    loads: Cached[int, Mapping[str, Load]] = field(
        default_factory=lambda: Cached(seconds=LOAD_SECONDS, largest=MOST_KEYS)
    )

    async def load(self, key_id: int | None) -> Mapping[str, Load]:
        """Cells by surface that have not ended, as of a second ago at most.

        Of this key or of all, which are as many rows as there are keys and lanes.
        """
        named = EVERYBODY if key_id is None else key_id

        async def read() -> Mapping[str, Load]:
            async with self.pool.connection() as connection:
                return await lanes.by_surface(connection, key_id=key_id)

        return await self.loads.get(named, read) or {}

    async def rules(self) -> Rules:
        """What this server allows and assumes of a submission."""
        given, sealer = self.settings, await self.vault.sealer()
        return Rules(given.default_country, given.max_children, given.allow_networks, sealer)

    async def catalogue(self) -> Catalogue:
        """What can be captured, as of a second ago at most."""
        return self.catalogues.peek("") or await self._catalogue()

    async def _catalogue(self) -> Catalogue:
        async def load() -> Catalogue:
            async with self.pool.connection() as connection:
                reachable = self.settings.allow_networks
                return await catalogue.read(connection, reachable=reachable)

        return cast("Catalogue", await self.catalogues.get("", load))

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection on which several reads see one moment."""
        return db.one_moment(self.pool)

    def release(self) -> None:
        """End the streams and answer the long polls: this process is leaving."""
        self.jobs.release()
        self.snapshots.release()


@asynccontextmanager
async def opened(settings: Settings, url: str, *, traffic: Traffic) -> AsyncIterator[Services]:
    """The services of a living application; what was submitted is finished before they close."""
    async with (
        db.pool(url, most=MOST_CONNECTIONS, name="api") as pool,
        _present(url, pool) as presence,
    ):
        pace = Pace()
        submitter = Submitter(pool, pace=pace)
        waits = Waits(pool, node=lambda: presence.node_id)
        rates = Book(pool, node=lambda: presence.node_id)
        watchers = Watchers(pool, node=lambda: presence.node_id)
        looking = Looking(pool, rates=rates, node=lambda: presence.node_id)
        jobs, snapshots = Watching(looking.jobs), Watching(looking.snapshots)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(submitter.run)
            tasks.start_soon(rates.run)
            tasks.start_soon(waits.run, settings.listen_url or url, db.options())
            tasks.start_soon(watchers.run)
            tasks.start_soon(jobs.run)
            tasks.start_soon(snapshots.run)
            try:
                yield Services(
                    settings=settings,
                    pool=pool,
                    presence=presence,
                    submitter=submitter,
                    waits=waits,
                    pace=pace,
                    rates=rates,
                    watchers=watchers,
                    jobs=jobs,
                    snapshots=snapshots,
                    traffic=traffic,
                    vault=Vault(pool, settings.secret_key),
                )
            finally:
                submitter.close()
                rates.close()
                waits.close()
                watchers.close()
                jobs.close()
                snapshots.close()


@asynccontextmanager
async def _present(url: str, pool: AsyncConnectionPool) -> AsyncIterator[Heartbeat]:
    """This process among the nodes, for as long as it lives; it starts without its database too."""
    node = NewNode(socket.gethostname(), os.getpid(), kind="api", session=nodes.session_name())
    presence = Heartbeat(url, db.options(), node)
    presence.start()
    try:
        await to_thread.run_sync(presence.tried)
        yield presence
    finally:
        await to_thread.run_sync(presence.stop)
        with suppress(*DATABASE_AWAY):
            async with pool.connection(LEAVE_SECONDS) as connection:
                await nodes.leave(connection, presence.node_id)


def of(scope: Scope) -> Services:
    """The services of the application that serves this request."""
    app: Litestar = scope["litestar_app"]
    return cast("Services", app.state["services"])
