"""A node: one worker process, put together, kept alive and drained."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence

import structlog
from psycopg_pool import AsyncConnectionPool

from orchestrator import db, listener, notify
from orchestrator.heartbeat import Heartbeat
from orchestrator.settings import Settings
from orchestrator.store import nodes, surfaces
from orchestrator.store.children import Fence
from orchestrator.store.nodes import NewNode
from workers import loop
from workers.adapters import discovery
from workers.execution import Served
from workers.loop import Role
from workers.roles.dispatcher import Dispatcher
from workers.roles.interrupter import Interrupter
from workers.roles.rescuer import Rescuer
from workers.roles.runner import Runner
from workers.roles.stager import Stager
from workers.roles.steward import Steward
from workers.settling import Settler
from workers.shares import shares

MOST_CONNECTIONS = 6
_log = structlog.get_logger()


async def run(settings: Settings, url: str, *, slots: int, served: Mapping[str, Served]) -> None:
    """Serve these surfaces until SIGTERM or SIGINT, then drain. A second signal ends it at once."""
    stopping = asyncio.Event()
    _on_signals(stopping)
    try:
        async with db.pool(settings, url, most=MOST_CONNECTIONS, name="worker") as pool:
            node = NewNode(socket.gethostname(), os.getpid(), slots, tuple(served))
            node_id = await _register(pool, node, served)
            heartbeat = Heartbeat(url, db.options(settings), node, node_id=node_id)
            heartbeat.start()
            try:
                _log.info("node.started", node=node_id, slots=slots, surfaces=len(served))
                await Node(
                    settings=settings,
                    url=url,
                    pool=pool,
                    node_id=node_id,
                    slots=slots,
                    served=served,
                    heartbeat=heartbeat,
                ).run(stopping)
            finally:
                await asyncio.to_thread(heartbeat.stop)
            async with pool.connection() as connection:
                await nodes.leave(connection, node_id)
            _log.info("node.left", node=node_id)
    finally:
        for surface in served.values():
            await surface.adapter.close()


class Node:
    """The parts of a worker and who wakes whom."""

    def __init__(
        self,
        *,
        settings: Settings,
        url: str,
        pool: AsyncConnectionPool,
        node_id: int,
        slots: int,
        served: Mapping[str, Served],
        heartbeat: Heartbeat,
    ) -> None:
        self._settings = settings
        self._url = url
        self._captures = asyncio.TaskGroup()
        self._settler = Settler(pool, self._settled)
        self._runners = tuple(
            Runner(
                pool,
                node=node_id,
                slots=share,
                surfaces=surfaces,
                settler=self._settler,
                tasks=self._captures,
                may_start=lambda: heartbeat.fresh,
            )
            for share, surfaces in _shared(slots, served)
        )
        self._dispatcher = Dispatcher(pool, born=self._ready)
        self._stager = Stager(pool, ready=self._ready, released=self._dispatcher.wake.set)
        self._interrupter = Interrupter(pool, node=node_id, interrupt=self._interrupt)
        self._steward = Steward(pool)
        self._rescuer = Rescuer(pool, steady=lambda: heartbeat.steady, ready=self._ready)

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping`, then drain: nothing claimed is left behind."""
        roles: list[Role] = [*self._runners, self._dispatcher, self._stager]
        roles += [self._interrupter, self._rescuer, self._steward]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._settler.run())
            listening = tasks.create_task(self._listen())
            async with self._captures:
                async with asyncio.TaskGroup() as loops:
                    for role in roles:
                        loops.create_task(loop.run(role, stopping))
                    await stopping.wait()
                    for role in roles:
                        role.wake.set()
                await self._drain()
            self._settler.close()
            listening.cancel()

    async def _drain(self) -> None:
        _log.info("node.draining", running=self._running)
        try:
            async with asyncio.timeout(self._settings.drain_seconds):
                while self._running:
                    await self._runners[0].wake.wait(0.05)
        except TimeoutError:
            _log.warning("node.gives_back", running=self._running)
            for runner in self._runners:
                runner.give_back()

    @property
    def _running(self) -> int:
        return sum(runner.running for runner in self._runners)

    def _ready(self) -> None:
        for runner in self._runners:
            runner.wake.set()

    def _interrupt(self, fences: Sequence[Fence]) -> int:
        return sum(runner.interrupt(fences) for runner in self._runners)

    def _settled(self, retrying: bool) -> None:  # noqa: FBT001 - a callback of one argument
        self._ready()
        self._dispatcher.wake.set()
        if retrying:
            self._stager.wake.set()

    async def _listen(self) -> None:
        heard = {
            notify.ADMITTED: lambda _: self._dispatcher.wake.set(),
            notify.QUEUED: lambda _: self._ready(),
            notify.STOPPED: lambda _: self._interrupter.wake.set(),
            notify.ACTED: lambda _: self._steward.wake.set(),
        }
        url = self._settings.listen_url or self._url
        await listener.listen(url, db.options(self._settings), heard)


async def _register(pool: AsyncConnectionPool, node: NewNode, served: Mapping[str, Served]) -> int:
    async with pool.connection() as connection, connection.transaction():
        await surfaces.register(
            connection,
            [discovery.describe(surface.config, surface.adapter) for surface in served.values()],
        )
        return await nodes.register(connection, node)


def _shared(slots: int, served: Mapping[str, Served]) -> Iterator[tuple[int, Mapping[str, Served]]]:
    """The surfaces whose children take equally many slots, and how many of those run at once."""
    weights = {surface.config.slots for surface in served.values()}
    for weight, share in shares(slots, weights).items():
        yield share, {name: s for name, s in served.items() if s.config.slots == weight}


def _on_signals(stopping: asyncio.Event) -> None:
    def stop() -> None:
        if stopping.is_set():
            os._exit(1)
        stopping.set()

    running = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, stop)
