"""Submissions over HTTP: one API process, every check on, each answered 202 is durable.

Each has an idempotency key of its own and costs a token of its key's request rate.
"""

import asyncio
import json

import psycopg
import uvloop

from admission.limits import Limits
from tests.bench import loading, stack
from tests.bench.report import Row

CONNECTIONS = 256
WARM_UP = 1_000
BODY = json.dumps(
    {"query": "best running shoes 2026", "surfaces": ["fast"], "regions": ["US", "GB", "DE", "FR"]}
).encode()
CONFIG = """
[surfaces.fast]
adapter = "simulator"
concurrency = 1
options.latency_ms = 60000
"""


def run(scale: float) -> list[Row]:
    """Submissions a second with 256 clients that wait for their answer."""
    count = max(100, int(20_000 * scale))
    with stack.running() as here:
        here.config(CONFIG)
        here.registered()
        secret = here.key("bench", Limits(queue_capacity=10**6, requests_per_minute=10**6))
        url = here.api()
        ask = loading.request("POST", "/v1/search", secret, BODY, Idempotency_Key="%010d")
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
    assert answered.statuses == {202: count}, answered.statuses
    assert stored == (count + WARM_UP,), stored
    return [
        Row("submissions, one API process, durable", answered.rate, "/s", 4_000),
        Row("  their p50", answered.percentile(0.5) * 1e3, "ms"),
        Row("  their p99", answered.percentile(0.99) * 1e3, "ms"),
    ]
