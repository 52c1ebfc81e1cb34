"""A runner with all it needs, over a surface that does as a test tells it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import msgspec
import psycopg
import pytest
from psycopg import AsyncConnection

from orchestrator.domain.envelope import Answer, Capture, Evidence, Provenance, Seen
from orchestrator.fanout import fan_out
from orchestrator.store import parents
from orchestrator.surfaces import SurfaceConfig
from tests import factories
from tests.waiting import eventually
from tests.workers.database import pool_of
from workers.adapters.base import Captured, CaptureRequest
from workers.coalescing import Coalescer
from workers.errors import SurfaceError
from workers.execution import Alone, Served
from workers.roles.runner import Runner
from workers.secrets import Secrets
from workers.settling import Settler

CONFIG = SurfaceConfig(name=factories.SURFACE, adapter="test", attempts=3)
CAPTURE = Capture(
    answer=Answer(text="tea"),
    evidence=Evidence(),
    provenance=Provenance(adapter="test", method="simulator", region=Seen(requested="US")),
)


NOTHING = msgspec.structs.replace(
    CAPTURE, provenance=msgspec.structs.replace(CAPTURE.provenance, surface_present=False)
)


class Surface:
    """An adapter that captures when it is let to, and fails as it is told."""

    method = "simulator"
    options_schema: dict[str, object] = {}  # noqa: RUF012 - as the protocol has it
    countries = None
    instant = False

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.asked: list[CaptureRequest] = []
        self.running = self.most = 0
        self.error: SurfaceError | None = None
        self.found = CAPTURE

    async def capture(self, request: CaptureRequest) -> Capture:
        self.asked.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.released.wait()
        finally:
            self.running -= 1
        if self.error:
            raise self.error
        return NOTHING if request.query == "nothing" else self.found

    async def close(self) -> None:
        pass


async def never_alone(config: SurfaceConfig, request: CaptureRequest) -> Captured:
    raise AssertionError("no suspect is expected here")


class Worker:
    """A runner with its settler and its surface."""

    def __init__(self, surface: Surface, settler: Settler, runner: Runner) -> None:
        self.surface = surface
        self.settler = settler
        self.runner = runner

    async def idle(self) -> None:
        """Wait until nothing is being captured."""

        async def done() -> bool:
            return not self.runner.running

        await eventually(done)


@asynccontextmanager
async def working(
    connection: AsyncConnection,
    database: str,
    slots: int = 10,
    *,
    config: SurfaceConfig = CONFIG,
    may_start: Callable[[], bool] = lambda: True,
    alone: Alone = never_alone,
    secrets: Secrets | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Worker]:
    """A worker; it is flushed and ended at the end of the block."""
    node, surface = await factories.node(connection), Surface()
    async with pool_of(database, patience=30) as pool, asyncio.TaskGroup() as outer:
        settler = Settler(pool, lambda _: None)
        coalescer = Coalescer(pool, node=node)
        async with asyncio.TaskGroup() as tasks:
            runner = Runner(
                pool,
                node=node,
                slots=slots,
                surfaces={config.name: Served(config, surface)},
                settler=settler,
                tasks=tasks,
                may_start=may_start,
                alone=alone,
                secrets_of=(secrets or Secrets(None)).of_tasks,
                coalescer=coalescer,
                clock=clock,
            )
            outer.create_task(settler.run())
            outer.create_task(coalescer.run())
            yield Worker(surface, settler, runner)
            surface.released.set()
        settler.close()
        coalescer.close()


async def waiting(
    connection: AsyncConnection,
    cells: int = 1,
    *,
    n: int = 1,
    surface: str = factories.SURFACE,
    rate: str | None = None,
    **plan,
) -> list[UUID]:
    """Parents of one key whose children are ready."""
    asked = msgspec.structs.replace(factories.plan(cells, **plan), surfaces=(surface,))
    owner = await factories.key(connection, concurrency=1000)
    lane = await factories.lane(connection, surface=surface, concurrency=1000, rate=rate)
    made = [factories.new_parent(owner, [lane] * cells)._replace(plan=asked) for _ in range(n)]
    async with connection.transaction():
        await parents.insert(connection, made)
    await fan_out(connection, parents=n)
    return [parent.id for parent in made]


async def counted(connection) -> dict[str, int]:
    """Children by state."""
    cursor = await connection.execute("SELECT state, count(*) FROM child GROUP BY 1")
    return dict(Counter(dict(await cursor.fetchall())))


async def cut(connection, where: str) -> bool:
    """End the session that waits for this lock; True once there was one."""
    ended = await connection.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND {where}"
    )
    return ended.rowcount == 1


async def lose_an_answer(connection: AsyncConnection, database: str, worker: Worker) -> None:
    """A step whose claim was carried out, but whose connection broke before it could go on."""
    async with await psycopg.AsyncConnection.connect(database) as holder:
        await holder.execute("LOCK TABLE parent IN ACCESS EXCLUSIVE MODE")
        step = asyncio.create_task(worker.runner.step())
        await eventually(lambda: cut(connection, "relation = 'parent'::regclass"))
        with pytest.raises(psycopg.OperationalError):
            await step
        await holder.rollback()
