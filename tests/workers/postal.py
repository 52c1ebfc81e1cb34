"""A deliverer at work, and receivers that remember what they got."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from aiohttp import web
from psycopg import AsyncConnection

from admission.keys import Key
from orchestrator.domain.addresses import Network
from orchestrator.domain.webhooks import Webhook
from orchestrator.sealing import Sealer
from orchestrator.store.children import Completed
from tests import factories
from tests.store import telling
from tests.waiting import eventually
from tests.workers.database import pool_of
from workers import loop
from workers.endpoints import Endpoints
from workers.letters import Letters
from workers.outgoing import Outgoing
from workers.recording import Recorder
from workers.roles.deliverer import Deliverer
from workers.secrets import Secrets

LOOPBACK = (ip_network("127.0.0.0/8"),)
CAPTURE = (
    '{"answer": {"text": "Thé", "markdown": "", "blocks": []}, "evidence": {"sources": []},'
    ' "provenance": {"adapter": "simulator"}, "raw": {"secret": "upstream"},'
    ' "warnings": [{"code": "surface_absent", "message": "nothing"}]}'
)
SECRET_KEY = "k" * 32
ROWS = """
SELECT status, attempts, last_code, delivered_at IS NOT NULL FROM delivery
ORDER BY parent_id, run, ordinal
"""

OVER = """
SELECT bool_and(claim IS NULL AND attempts >= %s) FROM delivery
"""
LATER = """
UPDATE delivery SET due_at = now() WHERE status = 'pending'
"""


class Receiver:
    """Takes what is delivered; answers with `status` unless it is told what else to do."""

    def __init__(self) -> None:
        self.status = 204
        self.headers: dict[str, str] = {}
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.act: Callable[[], Awaitable[None]] | None = None

    async def __call__(self, request: web.Request) -> web.Response:
        named = {name.lower(): value for name, value in request.headers.items()}
        self.got.append((named, await request.read()))
        if self.act:
            await self.act()
        return web.Response(status=self.status, headers=self.headers)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(body) for _, body in self.got]

    @property
    def ids(self) -> Counter[str]:
        """How often each event came."""
        return Counter(headers["webhook-id"] for headers, _ in self.got)


class Office(NamedTuple):
    """A key and its lane in a database, a receiver, and whoever delivers to it."""

    connection: AsyncConnection
    database: str
    owner: Key
    lane: int
    receiver: Receiver
    serve: Callable[[Receiver], Awaitable[str]]

    async def url(self, receiver: Receiver | None = None) -> str:
        """Where a receiver is; without one the office's own."""
        return await self.serve(receiver or self.receiver)

    async def ended(self, webhook: Webhook, *, cells: int = 1) -> UUID:
        """A parent with this webhook whose cells have all completed."""
        lanes = [self.lane] * cells
        parent, claimed = await telling.working(self.connection, self.owner, lanes, webhook)
        fences = map(factories.fence, claimed)
        await factories.settle(self.connection, *(Completed(fence, CAPTURE) for fence in fences))
        return parent

    async def rows(self) -> list[tuple[Any, ...]]:
        """Status, attempts, last code, whether it has a time, of every delivery."""
        return await rows(self.connection)

    async def recorded(self, *, attempts: int) -> list[tuple[Any, ...]]:
        """The deliveries once each of them was attempted so often and none is under way."""
        return await recorded(self.connection, attempts=attempts)

    async def later(self) -> None:
        """Hours pass for what is to be tried again."""
        await self.connection.execute(LATER)

    @asynccontextmanager
    async def delivering(
        self,
        *,
        seconds: float = 10.0,
        sealer: Sealer | None = None,
        allowed: Sequence[Network] = LOOPBACK,
        patience: float = 30,
        dies: bool = False,
        endpoints: Endpoints | None = None,
        outgoing: Outgoing | None = None,
        letters: Letters | None = None,
    ) -> AsyncIterator[Deliverer]:
        """A deliverer in its loop; at the end of the block what is under way is recorded.

        Unless it `dies` then, with all it had under way.
        """
        stopping, outgoing = asyncio.Event(), outgoing or Outgoing(allowed)
        pooled = pool_of(self.database, most=4, patience=patience)
        async with pooled as pool, asyncio.TaskGroup() as outer:
            recorder = Recorder(pool)
            outer.create_task(recorder.run())
            async with asyncio.TaskGroup() as tasks:
                deliverer = Deliverer(
                    pool,
                    letters=letters or Letters(Secrets(sealer)),
                    outgoing=outgoing,
                    recorder=recorder,
                    tasks=tasks,
                    may_start=lambda: True,
                    seconds=seconds,
                    endpoints=endpoints,
                )
                running = tasks.create_task(loop.run(deliverer, stopping))
                try:
                    yield deliverer
                finally:
                    stopping.set()
                    deliverer.wake.set()
                    await running
                    if dies:
                        deliverer.give_up()
            recorder.close()
        await outgoing.close()


async def rows(connection: AsyncConnection) -> list[tuple[Any, ...]]:
    """As `Office.rows`, on any connection."""
    return await (await connection.execute(ROWS)).fetchall()


async def recorded(connection: AsyncConnection, *, attempts: int) -> list[tuple[Any, ...]]:
    """As `Office.recorded`, on any connection."""

    async def over() -> bool:
        return bool(await factories.scalar(connection, OVER, attempts))

    await eventually(over)
    return await rows(connection)
