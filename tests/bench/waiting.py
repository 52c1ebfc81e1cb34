"""What a sync request costs that waits: bytes of the API process, and threads."""

import asyncio
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import uvloop

from admission.limits import Limits
from tests.bench import loading, stack
from tests.bench.report import Row

WARM_UP = 100
QUERY = "best running shoes 2026"
WAITING = "SELECT count(*), pg_sleep(0.2)::text FROM sync_wait"
CONFIG = """
[surfaces.slow]
adapter = "simulator"
options.latency_ms = 60000
"""


def run(scale: float) -> list[Row]:
    """1,000 callers of one API process who wait for work that nobody does."""
    count = max(50, int(1_000 * scale))
    with stack.running() as here:
        here.config(CONFIG)
        here.registered()
        limits = Limits(sync_limit=2 * count + 2 * WARM_UP, requests_per_minute=10**6)
        secret = here.key("bench", limits)
        url, api = here.serving()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            before, after = runner.run(_measured(url, here.url, secret, api.pid, count))
    grown = after["VmRSS"] - before["VmRSS"]
    return [
        Row(f"{count:,} waiting sync requests, each", grown / count, "KiB", 28, most=True),
        Row("  threads more", after["Threads"] - before["Threads"], "", 0, most=True),
    ]


async def _measured(
    url: str, database: str, secret: str, pid: int, count: int
) -> tuple[dict[str, int], dict[str, int]]:
    """The process's memory and threads before these callers came, and with them."""
    body = json.dumps({"query": QUERY}).encode()
    short = loading.request("POST", "/v1/search/slow", secret, body, Prefer="wait=1")
    warmed = await loading.load(url, lambda _: short, count=WARM_UP, connections=WARM_UP)
    assert warmed.statuses == {202: WARM_UP}, warmed.statuses
    before = state(pid)
    ask = loading.request("POST", "/v1/search/slow", secret, body)
    where = urlsplit(url)
    held = [await asyncio.open_connection(where.hostname, where.port) for _ in range(count)]
    for _, writer in held:
        writer.write(ask)
    await _waiting(database, count)
    after = state(pid)
    for _, writer in held:
        writer.close()
    return before, after


async def _waiting(database: str, count: int) -> None:
    """Return when this many wait."""
    async with (
        await psycopg.AsyncConnection.connect(database, autocommit=True) as connection,
        asyncio.timeout(60),
    ):
        while await (await connection.execute(WAITING)).fetchone() != (count, ""):
            pass


def state(pid: int) -> dict[str, int]:
    """`VmRSS` in KiB and `Threads` of a process."""
    told = Path(f"/proc/{pid}/status").read_text()
    found = re.findall(r"^(VmRSS|Threads):\s+(\d+)", told, re.MULTILINE)
    return {name: int(n) for name, n in found}
