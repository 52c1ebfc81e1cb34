"""Batches of 500 over HTTP: one API process, every check on, each parent durable when answered.

Each item has an idempotency key of its own: that of its batch, and its place.
"""

import asyncio
import json

import psycopg
import uvloop

from admission.limits import Limits
from tests.bench import loading, stack
from tests.bench.report import Row

ITEMS = 500
CONNECTIONS = 4
WARM_UP = 2
BODY = json.dumps(
    {
        "items": [
            {
                "query": f"best running shoes {n}",
                "surfaces": ["fast"],
                "regions": ["US", "GB", "DE", "FR"],
            }
            for n in range(ITEMS)
        ]
    }
).encode()
CONFIG = """
[surfaces.fast]
adapter = "simulator"
concurrency = 1
options.latency_ms = 60000
"""


def run(scale: float) -> list[Row]:
    """Parents a second with four clients that send one batch after the other."""
    count = max(2, int(100 * scale))
    with stack.running() as here:
        here.config(CONFIG)
        here.registered()
        secret = here.key("bench", Limits(queue_capacity=10**6, requests_per_minute=10**6))
        url = here.api()
        ask = loading.request("POST", "/v1/search/batch", secret, BODY, Idempotency_Key="%010d")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            warm_up = loading.load(url, lambda n: ask % -n, count=WARM_UP, connections=CONNECTIONS)
            runner.run(warm_up)
            answered = runner.run(
                loading.load(url, lambda n: ask % (n + 1), count=count, connections=CONNECTIONS)
            )
        with psycopg.connect(here.url) as connection:
            stored = connection.execute(
                "SELECT count(DISTINCT idempotency_key) FROM parent"
            ).fetchone()
    assert answered.statuses == {200: count}, answered.statuses
    assert stored == ((count + WARM_UP) * ITEMS,), stored
    return [
        Row(
            "parents in batches of 500, one API process, durable",
            answered.rate * ITEMS,
            "/s",
            20_000,
        ),
        Row("  p50 of a batch", answered.percentile(0.5) * 1e3, "ms"),
        Row("  p99 of a batch", answered.percentile(0.99) * 1e3, "ms"),
    ]
