"""A breaker opens and recovers, by its upstream's log; `python -m tests.bench.breaker` draws it.

One surface's upstream answers 500 for a while; another surface shares worker, key and parents'
queue with it. Every call is logged where it arrives.
"""

import asyncio
import math
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import Queue
from typing import NamedTuple

import psycopg
from aiohttp import web

from admission.limits import Limits
from tests.bench import seeding, stack
from tests.bench.report import Row
from tests.bench.seeding import Work
from tests.bench.stack import Stack

LIMITS = Limits(queue_capacity=10**6, concurrency=400)
AT_ONCE, CALL_SECONDS = 8, 0.1
FAILS, LASTS = (4.0, 16.0), 26.0
SHORTEST = 0.65  # the first probe still finds it dead
STRUCK, SOUND = "struck", "sound"
CONFIG = """
[surfaces.{name}]
adapter = "http"
concurrency = 8
attempts = 10
options.url = "http://127.0.0.1:{port}/{name}?q={{query}}"
options.format = "text"
"""
STATE = """
SELECT CASE WHEN open_until IS NULL THEN 'closed'
            WHEN open_until > now() THEN 'open' ELSE 'half-open' END
FROM lane WHERE surface = 'struck'
"""


class Call(NamedTuple):
    """A call as the upstream logged it: when, in seconds, and whether it was answered."""

    surface: str
    at: float
    fine: bool


class Log:
    """An upstream, its log, and whether it fails just now."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.fails = False
        self.began = time.monotonic()

    async def answer(self, request: web.Request) -> web.Response:
        """One call."""
        surface = request.path.strip("/")
        fine = not (self.fails and surface == STRUCK)
        self.calls.append(Call(surface, time.monotonic() - self.began, fine))
        await asyncio.sleep(CALL_SECONDS)
        return web.Response(text="tea", status=200 if fine else 500)


def run(scale: float) -> list[Row]:
    """What arrives while the breaker is open, and how the other surface fares meanwhile."""
    log, states, _ = watch(scale)
    opened = [at for at, state in states if state == "open"]
    failed = [call for call in log.calls if not call.fine]
    probes = sum(call.at > min(opened) + 1 for call in failed)
    sound = [call.at for call in log.calls if call.surface == SOUND]
    during = sum(min(opened) < at < max(opened) for at in sound) / (max(opened) - min(opened))
    before = sum(at < min(opened) for at in sound) / min(opened)
    return [
        Row(
            "calls a dead upstream got before its breaker opened",
            len(failed) - probes,
            "",
            26,
            most=True,
        ),
        Row("calls it got after, in the time it was dead", probes, "", 2, most=True),
        Row("calls of another surface meanwhile, to before", during / before, "x", 0.9),
    ]


def watch(scale: float) -> tuple[Log, list[tuple[float, str]], float]:
    """A run: the log, the breaker's states by time, and how much longer or shorter it was."""
    stretch = max(SHORTEST, scale)
    with _upstream() as (log, port), stack.running() as here:
        here.config("".join(CONFIG.format(name=name, port=port) for name in (STRUCK, SOUND)))
        for name in (STRUCK, SOUND):
            work = Work(int(AT_ONCE / CALL_SECONDS * (LASTS + 5)), (name,), ("US",))
            if name == STRUCK:
                issued = seeding.seed(here.url, "bench", work, limits=LIMITS, lane=AT_ONCE)
            else:
                seeding.more(here.url, issued, work, priority=5, lane=AT_ONCE)
        here.worker(slots=64)
        stack.wait_for_surfaces(here)
        return log, _drive(here, log, stretch), stretch


def _drive(here: Stack, log: Log, stretch: float) -> list[tuple[float, str]]:
    """Have it fail and work again; the breaker's state each 50 ms."""
    states = []
    log.calls.clear()
    log.began = time.monotonic()
    with psycopg.connect(here.url, autocommit=True) as session:
        while (at := time.monotonic() - log.began) < LASTS * stretch:
            log.fails = FAILS[0] <= at / stretch < FAILS[1]
            row = session.execute(STATE).fetchone()
            states.append((at, row[0] if row else "closed"))
            time.sleep(0.05)
    return states


@contextmanager
def _upstream() -> Iterator[tuple[Log, int]]:
    """An upstream in a thread of its own; it outlives the processes that call it."""
    log, ports, over = Log(), Queue[int](), threading.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/{surface}", log.answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ports.put(runner.addresses[0][1])
        await asyncio.to_thread(over.wait)
        await runner.cleanup()

    with ThreadPoolExecutor(1) as thread:
        serving = thread.submit(asyncio.run, serve())
        yield log, ports.get(timeout=10)
        over.set()
        serving.result(10)


def chart(calls: Sequence[Call], states: Sequence[tuple[float, str]], seconds: float) -> str:
    """A line a second: the calls that arrived (● answered, ○ failed), the breaker, the others."""
    lines = ["second  calls of the surface                   breaker    calls of another surface"]
    for second in range(math.ceil(seconds)):
        own = [c for c in calls if c.surface == STRUCK and int(c.at) == second]
        marks = "●" * round(sum(c.fine for c in own) / 4) + "○" * sum(not c.fine for c in own)
        said = dict.fromkeys(state for at, state in states if int(at) == second)
        other = sum(c.surface == SOUND and int(c.at) == second for c in calls)
        lines.append(f"{second:>6}  {marks:<38} {' → '.join(said):<18} {other:>3}")
    return "\n".join(lines)


if __name__ == "__main__":
    seen, through, _ = watch(1.0)
    print(chart(seen.calls, through, LASTS))
