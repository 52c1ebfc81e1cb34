"""What a sync call costs over its surface: one API process, one worker process.

Each measure is what the client waited less what the surface takes. A slot time is how long a
worker's slot is taken by one child, here the surface's latency.
"""

import asyncio
import json
from collections.abc import Iterator

import psycopg
import uvloop

from admission.limits import Limits
from tests.bench import loading, seeding, stack
from tests.bench.loading import Answered
from tests.bench.report import Row
from tests.bench.seeding import Work
from tests.bench.stack import Stack

LATENCY_MS = 50
SLOTS = 16
CALLERS = 4
BACKLOG = 10_000
COUNTRIES = ("US", "GB", "DE", "FR")
CONFIG = f"""
[surfaces.instant]
adapter = "simulator"
options.latency_ms = 0
[surfaces.steady]
adapter = "simulator"
options.latency_ms = {LATENCY_MS}
"""
LIMITS = Limits(
    requests_per_minute=10**6, queue_capacity=10**6, concurrency=SLOTS, sync_limit=CALLERS
)
LEFT = "SELECT sum(waiting + queued) FROM inflight"
RUNNING = "SELECT sum(processing), pg_sleep(0.05)::text FROM inflight"


def run(scale: float) -> list[Row]:
    """p50 and p99 beyond the latency: one caller after the other, four at once, a backlog."""
    with stack.running() as here:
        here.config(CONFIG)
        here.worker(slots=SLOTS)
        url = here.api()
        stack.wait_for_surfaces(here)
        secret = here.key("bench", LIMITS)
        rows = [
            *_rows("sync overhead, latency 0 ms", _call(url, secret, "instant", 1, scale), 0),
            *_rows("  four callers", _call(url, secret, "instant", CALLERS, scale), 0),
            *_rows(
                f"sync overhead, latency {LATENCY_MS} ms",
                _call(url, secret, "steady", 1, scale),
                LATENCY_MS,
            ),
            *_rows("  four callers", _call(url, secret, "steady", CALLERS, scale), LATENCY_MS),
        ]
        return [*rows, *_behind(here, url, scale)]


def _behind(here: Stack, url: str, scale: float) -> Iterator[Row]:
    """The same while the key has 10,000 cells waiting, and all it and the worker may run, run."""
    cells = BACKLOG * 6 // 5 + int(BACKLOG * scale)  # some are worked off meanwhile
    work = Work(cells // len(COUNTRIES), ("steady",), COUNTRIES)
    secret = seeding.seed(here.url, "busy", work, limits=LIMITS, lane=100).secret
    with psycopg.connect(here.url, autocommit=True) as connection:
        _until_full(connection)
        answered = _call(url, secret, "steady", 1, scale)
        (left,) = connection.execute(LEFT).fetchone() or (0,)
    assert left >= BACKLOG, left
    yield from _rows(
        f"  {BACKLOG:,} async cells of the key waiting", answered, LATENCY_MS, slot=LATENCY_MS
    )


def _until_full(connection: psycopg.Connection) -> None:
    """Return when as many children run as may; the worker looks for parents once a second."""
    for _ in range(200):
        row = connection.execute(RUNNING).fetchone()
        if row and row[0] and row[0] >= SLOTS:
            return
    raise TimeoutError("the slots are not filled")


def _rows(what: str, answered: Answered, latency: float, *, slot: float = 0) -> Iterator[Row]:
    yield Row(f"{what}: p50", answered.percentile(0.5) * 1e3 - latency, "ms", 6 + slot, most=True)
    yield Row("    p99", answered.percentile(0.99) * 1e3 - latency, "ms", 30 + slot, most=True)


def _call(url: str, secret: str, surface: str, callers: int, scale: float) -> Answered:
    body = json.dumps({"query": "best running shoes 2026"}).encode()
    ask = loading.request("POST", f"/v1/search/{surface}", secret, body)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for count in (max(callers, int(20 * scale)), max(2 * callers, int(400 * scale))):
            answered = runner.run(  # the first warms up
                loading.load(url, lambda _: ask, count=count, connections=callers)
            )
            assert answered.statuses == {200: count}, answered.statuses
    return answered
