"""One worker process: entered among the nodes, kept alive, told to stop, gone."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import structlog
from psycopg.errors import UndefinedColumn, UndefinedTable
from psycopg_pool import AsyncConnectionPool

from orchestrator import db
from orchestrator.errors import SUPERVISED, ParallaxError
from orchestrator.heartbeat import Heartbeat
from orchestrator.patience import DATABASE_AWAY, backoff
from orchestrator.sealing import Sealer
from orchestrator.settings import Settings
from orchestrator.store import data_keys, nodes, surfaces
from orchestrator.store.nodes import NewNode
from workers import captures
from workers.adapters import discovery
from workers.execution import Served
from workers.node import Node

MOST_CONNECTIONS = 6
_log = structlog.get_logger()


async def run(settings: Settings, url: str, *, slots: int, served: Mapping[str, Served]) -> None:
    """Serve these surfaces until SIGTERM or SIGINT, then drain. A second signal ends it at once.

    A database that is away, at the start too, is waited for.
    """
    stopping = asyncio.Event()
    _on_signals(stopping)
    asyncio.get_running_loop().set_task_factory(captures.kept)
    try:
        async with db.pool(url, most=MOST_CONNECTIONS, name="worker") as pool:
            node = NewNode(
                socket.gethostname(),
                os.getpid(),
                slots,
                tuple(served),
                session=nodes.session_name(),
            )
            entered = await _entered(pool, node, served, settings.secret_key, stopping)
            if entered is not None:
                node_id, sealer = entered
                heartbeat = Heartbeat(url, db.options(), node, node_id=node_id)
                async with _present(pool, heartbeat):
                    _log.info("node.started", node=node_id, slots=slots, surfaces=len(served))
                    await Node(
                        settings=settings,
                        url=url,
                        pool=pool,
                        node_id=node_id,
                        slots=slots,
                        served=served,
                        heartbeat=heartbeat,
                        sealer=sealer,
                    ).run(stopping)
    finally:
        for surface in served.values():
            await surface.adapter.close()


@asynccontextmanager
async def _present(pool: AsyncConnectionPool, heartbeat: Heartbeat) -> AsyncIterator[None]:
    """Beating; after a drain the node is gone at once."""
    heartbeat.start()
    try:
        yield
    finally:
        await asyncio.to_thread(heartbeat.stop)
    with suppress(*DATABASE_AWAY):
        async with pool.connection() as connection:
            await nodes.leave(connection, heartbeat.node_id)
    _log.info("node.left", node=heartbeat.node_id)


async def _entered(
    pool: AsyncConnectionPool,
    node: NewNode,
    served: Mapping[str, Served],
    secret_key: str | None,
    stopping: asyncio.Event,
) -> tuple[int, Sealer | None] | None:
    """The node's id and its sealer once the database is there; None when told to stop before.

    `ConfigError` when the keys do not open what is sealed there: no event with a secret could be
    told.
    """
    failures = 0
    while not stopping.is_set():
        try:
            sealer = await _sealer(pool, secret_key)
            return await _register(pool, node, served), sealer
        except (UndefinedTable, UndefinedColumn):
            raise ParallaxError(
                "the database has not the schema of this version; run `parallax migrate` first"
            ) from None
        except DATABASE_AWAY as error:
            failures += 1
            _log.warning("node.waits_for_database", error=type(error).__name__)
            await asyncio.sleep(backoff(failures))
    return None


async def _sealer(pool: AsyncConnectionPool, secret_key: str | None) -> Sealer | None:
    if secret_key is None:
        return None
    async with pool.connection() as connection:
        return await data_keys.sealer(connection, secret_key)


async def _register(pool: AsyncConnectionPool, node: NewNode, served: Mapping[str, Served]) -> int:
    async with pool.connection() as connection, connection.transaction():
        await surfaces.register(
            connection,
            [discovery.describe(surface.config, surface.adapter) for surface in served.values()],
        )
        return await nodes.register(connection, node)


def _on_signals(stopping: asyncio.Event) -> None:
    """The first says drain, the second do not wait.

    A supervised one hears of one stop from its supervisor and from a service manager that tells all
    processes; who does not want to wait tells its supervisor, which kills.
    """

    def stop() -> None:
        if stopping.is_set() and SUPERVISED not in os.environ:
            os._exit(1)
        stopping.set()

    running = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, stop)
