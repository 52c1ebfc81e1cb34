"""What a webhook costs those who settle: parents of 500 cells that tell of each, or do not."""

import asyncio
import secrets
import statistics
import time
from typing import NamedTuple

from psycopg import AsyncConnection

from admission import keys, usage
from admission.keys import Key
from admission.limits import Limits
from orchestrator import db
from orchestrator.domain import ids
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region
from orchestrator.domain.webhooks import Webhook
from orchestrator.fanout import fan_out
from orchestrator.store import children, lanes, nodes, parents
from orchestrator.store.children import Completed, Fence
from orchestrator.store.lanes import Place
from orchestrator.store.nodes import NewNode
from orchestrator.store.parents import NewParent
from orchestrator.surfaces import RegionLimits
from tests.bench import stack
from tests.bench.report import Row

CELLS = 500
FLUSH = 250
"""Outcomes of a worker's flush, of the 400 it takes at most."""
ROUNDS = 60
CAPTURE = '{"answer": {"text": "' + "tea " * 230 + '"}}'
SURFACES = tuple(f"surface{n}" for n in range(10))
PLAN = Plan(query="tea", surfaces=SURFACES, regions=tuple(Region("US", f"C{n}") for n in range(50)))
TOLD = Webhook(url="http://127.0.0.1:9/hook")


class Work(NamedTuple):
    """One key whose parents come and end, one after the other."""

    connection: AsyncConnection
    key: Key
    cells: list[int]
    node: int

    async def settled(self, webhook: Webhook | None) -> float:
        """Seconds to settle the cells of one parent, in flushes."""
        plan = PLAN if webhook is None else _telling(webhook)
        async with self.connection.transaction():
            await usage.lock(self.connection, [self.key.id])
            await parents.insert(
                self.connection, [NewParent(ids.new(), self.key.id, plan, self.cells)]
            )
        assert await fan_out(self.connection) == CELLS
        fences = [fence for _ in range(CELLS // FLUSH) for fence in await self._claim()]
        assert len(fences) == CELLS
        outcomes = [Completed(fence, CAPTURE) for fence in fences]
        began = time.perf_counter()
        for start in range(0, CELLS, FLUSH):
            await children.settle(self.connection, outcomes[start : start + FLUSH])
        return time.perf_counter() - began

    async def _claim(self) -> list[Fence]:
        token = secrets.randbits(62)
        claimed = await children.claim(
            self.connection, node=self.node, token=token, slots=FLUSH, surfaces=list(SURFACES)
        )
        return [Fence(child.parent_id, child.ordinal, token) for child in claimed]


def _telling(webhook: Webhook) -> Plan:
    return Plan(query=PLAN.query, surfaces=PLAN.surfaces, regions=PLAN.regions, webhook=webhook)


def run(scale: float) -> list[Row]:
    """Milliseconds to settle 500 cells with and without a webhook, by turns; their ratio."""
    with stack.running() as here:
        plain, told = asyncio.run(_work(here.url, max(4, int(ROUNDS * scale))))
        count = here.one("SELECT count(*) FROM delivery")
    assert count == (len(told) * (CELLS + 1),), count
    return [
        Row(f"{CELLS} cells settled, no webhook, p50", statistics.median(plain) * 1e3, "ms"),
        Row("  with one that is told of each", statistics.median(told) * 1e3, "ms"),
        Row(
            "    against without",
            statistics.median(told) / statistics.median(plain),
            "×",
            1.2,
            most=True,
        ),
    ]


async def _work(url: str, rounds: int) -> tuple[list[float], list[float]]:
    async with db.connect(url) as connection:
        limits = Limits(concurrency=CELLS, queue_capacity=10**6)
        key = (await keys.create(connection, "bench", limits=limits)).key
        bounds = RegionLimits(concurrency=1_000)
        places = {Place(name, "US"): bounds for name in SURFACES}
        known = await lanes.ensure(connection, places)
        cells = [known[Place(cell.surface, "US")] for cell in PLAN.cells()]
        node = await nodes.register(connection, NewNode("bench", 1, CELLS, SURFACES))
        work = Work(connection, key, cells, node)
        for _ in range(5):
            await work.settled(None)
        plain, told = [], []
        for _ in range(rounds):
            plain.append(await work.settled(None))
            told.append(await work.settled(TOLD))
        return plain, told
