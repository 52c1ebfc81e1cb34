"""Claim, fan-out and snapshot with many keys, lanes and parents against ten times as many.

Both databases are asked in turns, round by round: what else the machine does meets both alike.
Each round claims 200 children of 2,000 that run, settles as many and lets parents leave, so that
the hot set stays filled to the windows.
"""

import asyncio
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack
from typing import NamedTuple, TypeVar

import psycopg

from orchestrator import db, snapshot
from orchestrator.fanout import fan_out
from orchestrator.store import children, counters
from orchestrator.store.children import Completed, Fence
from tests.bench import stack
from tests.bench.loading import Answered
from tests.bench.report import Row

T = TypeVar("T")
CLAIM, PARENTS, RUNNING = 200, 50, 2_000
ROUNDS, WARM_UP = 150, 5
CAPTURE = '{"answer": "%s"}' % ("Most testers name the same three shoes. " * 15)
STATEMENTS = ("claim", "fan-out", "snapshot")


class Size(NamedTuple):
    """So many keys of 100 parents each, and so many blocks of 20 lanes."""

    keys: int
    blocks: int


# A popular lane, which a third of the parents need, and blocks of 20. Each key has a block of its
# own and three strands: the popular lane and nine others, ten others, and the last ten.
KEYS = """
INSERT INTO api_key (name, requests_per_minute, sync_limit, queue_capacity, concurrency, weight)
SELECT 'key ' || n, 600, 8, 1000, 50, 1 FROM generate_series(1, %(keys)s) AS n
"""
LANES = """
INSERT INTO lane (surface, country, concurrency)
SELECT 's' || n / 20, 'C' || n %% 20, CASE n WHEN 0 THEN 200 ELSE 4000 / 20 / %(blocks)s END
FROM generate_series(0, 20 * %(blocks)s) AS n ORDER BY n
"""
WORKER = """
INSERT INTO node (kind, host, pid, slots, surfaces, heartbeat_at)
SELECT 'worker', 'bench', 1, 200, array_agg(DISTINCT surface), now() + interval '1 day' FROM lane
"""
SEED = """
INSERT INTO parent (id, key_id, priority, lanes, total, payload)
SELECT lpad(to_hex(n), 32, '0')::uuid, 1 + n / 100, 5,
       CASE n %% 3
         WHEN 0 THEN ARRAY[1, b + 2, b + 3, b + 4, b + 5, b + 6, b + 7, b + 8, b + 9, b + 10]
         WHEN 1 THEN ARRAY[b + 1, b + 2, b + 3, b + 4, b + 5, b + 6, b + 7, b + 8, b + 9, b + 10]
         ELSE ARRAY[b + 11, b + 12, b + 13, b + 14, b + 15, b + 16, b + 17, b + 18, b + 19, b + 20]
       END, 10, '{"query": "best running shoes 2026"}'
FROM (SELECT n, 1 + n / 100 %% %(blocks)s * 20 AS b
      FROM generate_series(0, %(keys)s * 100 - 1) AS n) AS new
"""
COUNT = (
    """INSERT INTO strand (key_id, strand, priority, lanes, n, since)
       SELECT key_id, strand, 5, min(lanes), count(*), extract(epoch FROM now())
       FROM parent GROUP BY 1, 2""",
    """INSERT INTO inflight (key_id, lane_id, waiting, asked)
       SELECT key_id, lane, sum(n), sum(n) FROM strand, unnest(lanes) AS lane GROUP BY 1, 2""",
    """INSERT INTO backlog (key_id, priority, n)
       SELECT key_id, 5, 10 * sum(n) FROM strand GROUP BY 1""",
    """UPDATE usage SET depth = own.n
       FROM (SELECT key_id, sum(n) AS n FROM strand GROUP BY 1) AS own
       WHERE own.key_id = usage.key_id""",
)
"""What the trigger of parents counts, which takes a minute to count a million of them."""
CONDITIONS = {
    "": "SELECT",
    ", a lane shut": "UPDATE lane SET paused_at = now() WHERE id = 1",
    ", half of the lanes full": """
        UPDATE lane
        SET paused_at = NULL, limited = CASE WHEN id > 1 AND (id - 2) % 20 >= 10 THEN 1 END
    """,
}
"""What is asked of the lanes, one after the other: a third of the parents need the first lane."""


class Place:
    """One of the databases, filled, and the seconds that each statement took there."""

    def __init__(self, connection: psycopg.AsyncConnection, size: Size) -> None:
        self.took: defaultdict[str, list[float]] = defaultdict(list)
        self.size = size
        self.connection = connection
        self._surfaces = [f"s{n}" for n in range(size.blocks + 1)]
        self._running: deque[Fence] = deque()
        self._asked = 0

    async def fill(self, running: int) -> None:
        """Parents in the queues, children up to the windows, so many of them running."""
        await self.connection.execute(KEYS, self.size._asdict())
        await self.connection.execute(LANES, self.size._asdict())
        await self.connection.execute(WORKER)
        await self.connection.execute("ALTER TABLE parent DISABLE TRIGGER USER")
        await self.connection.execute(SEED, self.size._asdict())
        await self.connection.execute("ALTER TABLE parent ENABLE TRIGGER USER")
        for statement in COUNT:
            await self.connection.execute(statement)
        await self.connection.execute("VACUUM ANALYZE")
        while await fan_out(self.connection, parents=PARENTS):
            pass
        while len(self._running) < running:
            assert await self._claim()

    async def tell(self, order: str) -> None:
        """Change what lanes may do; parents leave until there is no room for more."""
        await self.connection.execute(order)  # type: ignore[arg-type]
        while await fan_out(self.connection, parents=PARENTS):
            pass

    async def round(self) -> None:
        """Each statement once; those end that have run for longest."""
        claimed = await self._timed("claim", self._claim())
        ending = [self._running.popleft() for _ in range(claimed)]
        await children.settle(self.connection, [Completed(fence, CAPTURE) for fence in ending])
        await self._timed("fan-out", fan_out(self.connection, parents=PARENTS))
        self._asked += 1
        key = 1 + self._asked * 7_919 % self.size.keys
        await self._timed("snapshot", snapshot.take(self.connection, key))

    async def _claim(self) -> int:
        token = secrets.randbits(62)
        claimed = await children.claim(
            self.connection, node=1, token=token, slots=CLAIM, surfaces=self._surfaces
        )
        self._running.extend(Fence(c.parent_id, c.ordinal, c.claim) for c in claimed)
        return len(claimed)

    async def _timed(self, what: str, work: Awaitable[T]) -> T:
        began = time.perf_counter()
        done = await work
        self.took[what].append(time.perf_counter() - began)
        return done


def run(scale: float) -> list[Row]:
    """As is; with a lane shut that a third of the parents need; with half of the lanes full."""
    few = Size(max(50, int(1_000 * scale)), 1)
    many = Size(10 * few.keys, 25)
    with stack.running() as one, stack.running() as other:
        measured = _measured((one.url, few), (other.url, many), rounds=max(5, int(ROUNDS * scale)))
        return asyncio.run(measured)


async def _measured(*where: tuple[str, Size], rounds: int) -> list[Row]:
    rows: list[Row] = []
    async with AsyncExitStack() as connections:
        places = []
        for url, size in where:
            connecting = psycopg.AsyncConnection.connect(url, **db.options())
            places.append(Place(await connections.enter_async_context(await connecting), size))
            await places[-1].fill(min(RUNNING, 2 * where[0][1].keys))
        assert not await counters.differences(places[0].connection)
        for condition, order in CONDITIONS.items():
            for place in places:
                await place.tell(order)
            for number in range(WARM_UP + rounds):
                for place in places:
                    await place.round()
                    if number < WARM_UP:
                        place.took.clear()
            rows += _rows(condition, *places)
    return rows


def _rows(condition: str, few: Place, many: Place) -> Iterator[Row]:
    for what in STATEMENTS:
        small, large = (Answered(sum(p.took[what]), {}, p.took[what]) for p in (few, many))
        size = many.size
        yield Row(
            f"{what}, {size.keys:,} keys, {100 * size.keys:,} parents{condition}: p50",
            large.percentile(0.5) * 1e3,
            "ms",
        )
        yield Row("  p99", large.percentile(0.99) * 1e3, "ms")
        for name, share in ("p50", 0.5), ("p99", 0.99):
            ratio = large.percentile(share) / small.percentile(share)
            yield Row(f"  {name}, to that of {few.size.keys:,} keys", ratio, "×", 2, most=True)
    for place in (few, many):
        place.took.clear()
