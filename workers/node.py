"""A node: the parts of a worker, put together, and drained."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool

from orchestrator import db, listener, notify
from orchestrator.heartbeat import Heartbeat
from orchestrator.sealing import Sealer
from orchestrator.settings import Settings
from orchestrator.store import children, nodes
from orchestrator.store.children import Fence
from workers import captures, loop, memory
from workers.coalescing import Coalescer
from workers.execution import Served
from workers.letters import Letters
from workers.loop import Role
from workers.outgoing import Outgoing
from workers.quarantine import Quarantine
from workers.recording import Recorder
from workers.roles.deliverer import Deliverer
from workers.roles.dispatcher import Dispatcher
from workers.roles.interrupter import Interrupter
from workers.roles.pruner import Pruner
from workers.roles.rescuer import Rescuer
from workers.roles.runner import Runner
from workers.roles.stager import Stager
from workers.roles.steward import Steward
from workers.secrets import Secrets
from workers.settling import Settler
from workers.shares import shares
from workers.watchdog import Watchdog

MOST_ABANDONED = 50
"""Tasks that ignore their cancellation; a worker with so many drains, for another to begin anew."""
RENEW_SECONDS = 1.0
APART_SECONDS = 5.0
"""How long the watchdog waits for the database."""
_log = structlog.get_logger()


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
        sealer: Sealer | None,
    ) -> None:
        self._settings = settings
        self._url = url
        self._options = db.options()
        memory_bytes = settings.worker_memory or memory.allowed_bytes()
        self._watchdog = Watchdog(
            memory_bytes=memory_bytes,
            release=lambda: self._apart(partial(nodes.cut_off, node_id=node_id)),
            blame=self._blame,
        )
        self._quarantine = Quarantine(settings, memory_bytes=memory_bytes)
        self._captures = asyncio.TaskGroup()
        self._settler = Settler(pool, self._settled)
        self._coalescer = Coalescer(pool, node=node_id)
        secrets = Secrets(sealer)
        self._runners = tuple(
            Runner(
                pool,
                node=node_id,
                slots=share,
                surfaces=surfaces,
                settler=self._settler,
                tasks=self._captures,
                may_start=lambda: heartbeat.fresh,
                alone=self._quarantine.capture,
                secrets_of=secrets.of_tasks,
                coalescer=self._coalescer,
            )
            for share, surfaces in _shared(slots, served)
        )
        self._outgoing = Outgoing(settings.allow_networks)
        self._recorder = Recorder(pool)
        self._deliverer = Deliverer(
            pool,
            letters=Letters(secrets),
            outgoing=self._outgoing,
            recorder=self._recorder,
            tasks=self._captures,
            may_start=lambda: heartbeat.fresh,
        )
        self._dispatcher = Dispatcher(pool, born=self._ready)
        self._stager = Stager(pool, ready=self._ready, released=self._dispatcher.wake.set)
        self._interrupter = Interrupter(pool, node=node_id, interrupt=self._interrupt)
        self._steward = Steward(pool)
        self._pruner = Pruner(pool, retention_seconds=settings.retention)
        self._rescuer = Rescuer(pool, node=node_id, ready=self._ready)

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping`, then drain: nothing claimed is left behind."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._settler.run())
            tasks.create_task(self._recorder.run())
            tasks.create_task(self._coalescer.run())
            helping = [
                tasks.create_task(self._watchdog.pulse()),
                tasks.create_task(self._listen()),
                tasks.create_task(self._renew(stopping)),
                tasks.create_task(loop.run(self._interrupter, asyncio.Event())),
            ]
            async with self._captures:
                await self._work(stopping)
                await self._drain()
            self._settler.close()
            self._recorder.close()
            self._coalescer.close()
            self._quarantine.close()
            await self._outgoing.close()
            for task in helping:
                task.cancel()

    async def _work(self, stopping: asyncio.Event) -> None:
        """Until told to stop. What runs can be told to stop for as long as it runs."""
        roles: list[Role] = [*self._runners, self._dispatcher, self._stager]
        roles += [self._rescuer, self._steward, self._pruner, self._deliverer]
        async with asyncio.TaskGroup() as loops:
            for role in roles:
                loops.create_task(loop.run(role, stopping))
            await stopping.wait()
            for role in roles:
                role.wake.set()

    async def _renew(self, stopping: asyncio.Event) -> None:
        """Make way for a fresh process when too much runs here that nobody can end."""
        while captures.abandoned() < MOST_ABANDONED:  # noqa: ASYNC110 - others end them
            await asyncio.sleep(RENEW_SECONDS)
        _log.error("node.renews", abandoned=captures.abandoned())
        stopping.set()

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
            self._deliverer.give_up()

    @property
    def _running(self) -> int:
        """Children being captured and deliveries under way."""
        return sum(runner.running for runner in self._runners) + self._deliverer.running

    def _ready(self) -> None:
        for runner in self._runners:
            runner.wake.set()

    def _blame(self, name: str) -> None:
        """A capture of this name holds up everything; in the watchdog's thread."""
        fence = next(filter(None, (runner.named(name) for runner in self._runners)), None)
        if fence is not None:
            self._apart(partial(children.blame, fence=fence))

    def _apart(self, act: Callable[[psycopg.Connection], object]) -> None:
        """Tell the database something on a connection of its own, if it listens, and soon."""

        def tell() -> None:
            with suppress(psycopg.Error), psycopg.connect(self._url, **self._options) as own:
                act(own)

        telling = threading.Thread(target=tell, name="apart", daemon=True)
        telling.start()
        telling.join(APART_SECONDS)

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
            notify.TOLD: lambda _: self._deliverer.wake.set(),
        }
        await listener.listen(self._settings.listen_url or self._url, self._options, heard)


def _shared(slots: int, served: Mapping[str, Served]) -> Iterator[tuple[int, Mapping[str, Served]]]:
    """The surfaces whose children take equally many slots, and how many of those run at once."""
    weights = {surface.config.slots for surface in served.values()}
    for weight, share in shares(slots, weights).items():
        yield share, {name: s for name, s in served.items() if s.config.slots == weight}
