"""Steering under load: interrupts, a flood of a high priority, a mass cancel beside readers."""

import asyncio
import time
from typing import NamedTuple

import psycopg
import uvloop

from admission.limits import Limits
from tests.bench import loading, seeding, stack
from tests.bench.report import Row
from tests.bench.seeding import Work
from tests.bench.stack import Stack

LIMITS = Limits(queue_capacity=10**6, requests_per_minute=10**6, concurrency=400)
SLOW = """
[surfaces.slow]
adapter = "simulator"
concurrency = 500
options.latency_ms = 600000
timeout = "10m"
[surfaces.quick]
adapter = "simulator"
concurrency = 20
options.latency_ms = 5
"""
INTERRUPTED = """
SELECT percentile_cont(ARRAY[0.5, 1]) WITHIN GROUP (
         ORDER BY extract(epoch FROM finished_at - cancel_requested_at)), count(*)
FROM child WHERE state = 'canceled' AND attempt = 1
"""
SERVED = """
SELECT count(*) FILTER (WHERE priority = 1), count(*) FROM child WHERE state = 'completed'
"""


def run(scale: float) -> list[Row]:
    """Interrupts, a flood of priority 10, a group canceled whole."""
    return [*_interrupts(scale), *_flood(scale), *_mass_cancel(scale)]


def _interrupts(scale: float) -> list[Row]:
    """Seconds from a cancel to the end of captures that were under way."""
    cells = max(4, int(300 * scale))
    with stack.running() as here:
        here.config(SLOW)
        work = Work(cells, ("slow",), ("US",))
        issued = seeding.seed(here.url, "bench", work, limits=LIMITS, lane=500, group="all")
        here.worker(slots=400)
        here.until("SELECT count(*) = %s FROM child WHERE state = 'processing'", cells)
        asked = loading.request("POST", "/v1/groups/all/cancel", issued.secret)
        url = here.api()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            told = runner.run(loading.load(url, lambda _: asked, count=1, connections=1))
        assert told.statuses == {202: 1}, told.statuses
        here.until("SELECT count(*) = 0 FROM parent WHERE finished_at IS NULL")
        ((middle, longest), found) = here.one(INTERRUPTED)
    assert found == cells, found
    return [
        Row(f"a cancel to the end of {cells} running captures, p50", middle, "s"),
        Row("  the last of them", longest, "s", 2, most=True),
    ]


def _flood(scale: float) -> list[Row]:
    """The share of priority 1 while more of priority 10 waits than can be served."""
    with stack.running() as here:
        here.config(SLOW)
        low, high = max(40, int(1_000 * scale)), max(200, int(6_000 * scale))
        few = LIMITS._replace(concurrency=20)
        issued = seeding.seed(
            here.url, "bench", Work(low, ("quick",), ("US",)), limits=few, lane=20, priority=1
        )
        seeding.more(here.url, issued, Work(high, ("quick",), ("US",)), priority=10)
        here.worker(slots=100)
        here.until("SELECT count(*) > %s FROM child WHERE state = 'completed'", high // 2)
        ours, served = here.one(SERVED)
    return [Row("share of priority 1 under a flood of priority 10", ours / served, "of all", 0.09)]


class _Canceled(NamedTuple):
    took: float
    idle: float
    meanwhile: float


def _mass_cancel(scale: float) -> list[Row]:
    """A group of 100,000 waiting parents canceled whole, and the snapshot's p99 meanwhile."""
    parents = max(500, int(100_000 * scale))
    with stack.running() as here:
        here.config(SLOW)
        here.registered()
        work = Work(parents, ("slow",), ("US", "GB"))
        issued = seeding.seed(here.url, "bench", work, limits=LIMITS, lane=0, group="all")
        url = here.api()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            seen = runner.run(_cancel(here, url, issued.secret))
        (left,) = here.one("SELECT count(*) FROM parent WHERE cancel_requested_at IS NULL")
    assert left == 0, left
    return [
        Row(f"a group of {parents:,} waiting parents canceled", parents / seen.took, "parents/s"),
        Row("  snapshot p99 meanwhile", seen.meanwhile * 1e3, "ms"),
        Row("  against before", seen.meanwhile / seen.idle, "×"),
    ]


async def _cancel(here: Stack, url: str, secret: str) -> _Canceled:
    status = loading.request("GET", "/v1/async/status", secret)
    ask = loading.request("POST", "/v1/groups/all/cancel", secret)
    before = await loading.load(url, lambda _: status, count=200, connections=1)
    await loading.load(url, lambda _: ask, count=1, connections=1)
    worker = await asyncio.to_thread(here.worker, slots=1)
    began, latencies = time.perf_counter(), []
    async with await psycopg.AsyncConnection.connect(here.url, autocommit=True) as connection:
        while True:
            seen = await loading.load(url, lambda _: status, count=20, connections=1)
            latencies.extend(seen.latencies)
            cursor = await connection.execute(
                "SELECT count(*) FROM group_action WHERE finished_at IS NULL"
            )
            if await cursor.fetchone() == (0,):
                break
    took = time.perf_counter() - began
    assert worker.poll() is None
    meanwhile = loading.Answered(took, {200: len(latencies)}, latencies)
    return _Canceled(took, before.percentile(0.99), meanwhile.percentile(0.99))
