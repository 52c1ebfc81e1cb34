"""Pruning 50,000 parents of 20 children, and what it costs whoever works meanwhile."""

import asyncio
import secrets
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

import psycopg

from admission import keys, usage
from admission.keys import Key
from orchestrator import db
from orchestrator.domain import ids
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region
from orchestrator.fanout import fan_out
from orchestrator.settings import DAY
from orchestrator.store import children, lanes, nodes, parents
from orchestrator.store.children import Completed, Fence
from orchestrator.store.lanes import Place
from orchestrator.store.nodes import NewNode
from orchestrator.store.parents import NewParent
from orchestrator.surfaces import RegionLimits
from tests.bench import stack
from tests.bench.report import Row
from workers.roles.pruner import REST_SECONDS, Pruner

T = TypeVar("T")
CELLS = 20
ROUNDS = 400
CAPTURE = '{"answer": "%s"}' % ("Most testers name the same three shoes. " * 15)
PLAN = Plan(query="q", surfaces=("chat",), regions=tuple(Region("US", str(n)) for n in range(20)))
# They count nothing any more: without the triggers it is soon done.
SEED = (
    "SET session_replication_role = replica",
    """INSERT INTO parent (id, key_id, state, priority, lanes, total, done, payload, finished_at)
       SELECT lpad(to_hex(n), 32, '0')::uuid, 1, 'completed', 5, array_fill(1, ARRAY[20]), 20, 20,
              '{"query": "best running shoes 2026"}', now() - interval '8 day' - n * interval '1 s'
       FROM generate_series(1, %(parents)s) AS n""",
    """INSERT INTO child (parent_id, ordinal, key_id, lane_id, priority, state, finished_at, result)
       SELECT lpad(to_hex(n), 32, '0')::uuid, o, 1, 1, 5, 'completed', now(), %(capture)s
       FROM generate_series(1, %(parents)s) AS n, generate_series(1, 20) AS o""",
    "VACUUM ANALYZE parent, child",
    "SET session_replication_role = origin",
)
LEFT = """
SELECT (SELECT count(*) FROM parent WHERE finished_at < now() - interval '7 days'),
       (SELECT count(*) FROM child c WHERE NOT EXISTS (SELECT FROM parent WHERE id = c.parent_id))
"""


class Work(NamedTuple):
    """One who submits, claims and settles, and how long each took in seconds."""

    connection: psycopg.AsyncConnection
    key: Key
    lane: int
    node: int
    took: defaultdict[str, list[float]]

    async def round(self) -> None:
        """A parent of 20 cells comes and ends; the key's usage row is in many hands."""
        await self._timed("submit", self._submit)
        await self._timed("fan-out", lambda: fan_out(self.connection))
        fences = await self._timed("claim", self._claim)
        await self._timed("settle", lambda: self._settle(fences))

    async def _timed(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        began = time.perf_counter()
        found = await work()
        self.took[what].append(time.perf_counter() - began)
        return found

    async def _submit(self) -> None:
        async with self.connection.transaction():
            await usage.lock(self.connection, [self.key.id])
            new = NewParent(ids.new(), self.key.id, PLAN, [self.lane] * CELLS)
            await parents.insert(self.connection, [new])

    async def _claim(self) -> list[Fence]:
        token = secrets.randbits(62)
        named = {"node": self.node, "token": token, "surfaces": ["chat"]}
        claimed = await children.claim(self.connection, slots=CELLS, **named)
        fences = [Fence(child.parent_id, child.ordinal, token) for child in claimed]
        assert len(fences) == CELLS
        return fences

    async def _settle(self, fences: list[Fence]) -> None:
        await children.settle(self.connection, [Completed(fence, CAPTURE) for fence in fences])


def run(scale: float) -> list[Row]:
    """Children pruned a second, the longest batch, and latencies meanwhile against before."""
    old = max(500, int(50_000 * scale))
    with stack.running() as here:
        with psycopg.connect(here.url, autocommit=True) as connection:
            for statement in SEED:
                connection.execute(statement, {"parents": old, "capture": CAPTURE})
        batches: list[float] = []
        pruner = threading.Thread(target=lambda: asyncio.run(_prune(here.url, batches)))
        before, meanwhile, took = asyncio.run(_work(here.url, pruner, max(20, int(ROUNDS * scale))))
        assert here.one(LEFT) == (0, 0)
    pruned = old * CELLS
    return [
        Row(f"{pruned:,} children of {old:,} parents pruned", pruned / took, "children/s"),
        Row("  a batch, p50", statistics.median(batches) * 1e3, "ms"),
        Row("  the longest batch", max(batches) * 1e3, "ms"),
        *(row for what in before for row in _rows(what, before[what], meanwhile[what])),
    ]


def _rows(what: str, before: list[float], meanwhile: list[float]) -> list[Row]:
    middle = statistics.median(meanwhile)
    return [
        Row(f"  {what} of {CELLS} cells meanwhile, p50", middle * 1e3, "ms"),
        Row("    against before", middle / statistics.median(before), "×", 1.5, most=True),
        Row("    p99", sorted(meanwhile)[int(0.99 * len(meanwhile))] * 1e3, "ms"),
    ]


async def _prune(url: str, batches: list[float]) -> None:
    async with db.pool(url, most=1, name="pruner") as pool:
        pruner = Pruner(pool, retention_seconds=7 * DAY)
        while True:
            began = time.perf_counter()
            rest = await pruner.step()
            if rest == REST_SECONDS:
                return
            batches.append(time.perf_counter() - began)
            await asyncio.sleep(rest)


Took = dict[str, list[float]]


async def _work(url: str, pruner: threading.Thread, rounds: int) -> tuple[Took, Took, float]:
    async with db.connect(url) as connection:
        key = (await keys.create(connection, "bench")).key
        limits = {Place("chat", "US"): RegionLimits(concurrency=1_000)}
        (lane,) = (await lanes.ensure(connection, limits)).values()
        node = await nodes.register(connection, NewNode("bench", 1, CELLS, ("chat",)))
        work = Work(connection, key, lane, node, defaultdict(list))
        for _ in range(20):
            await work.round()
        work.took.clear()
        for _ in range(rounds):
            await work.round()
        before = dict(work.took)
        work.took.clear()
        pruner.start()
        began = time.perf_counter()
        while pruner.is_alive() or not work.took:
            await work.round()
        return before, dict(work.took), time.perf_counter() - began
