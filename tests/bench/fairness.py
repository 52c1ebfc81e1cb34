"""One key's flood beside another key: its wait, in slot times, and shares by weight."""

import http.client
import json
import time
from contextlib import closing
from urllib.parse import urlsplit

from admission.limits import Limits
from tests.bench import seeding, stack
from tests.bench.loading import Answered
from tests.bench.report import Row
from tests.bench.seeding import Work

LATENCY = 0.25
"""A slot time in seconds: so long a child of the flood takes."""
COUNTRIES = ("US", "GB", "DE", "FR")
FLOODED, SHARED = 8, 41
"""Concurrencies of lanes; async work may take all but one place."""
LIMITS = Limits(queue_capacity=10**6, requests_per_minute=10**6, concurrency=400)
CONFIG = """
[surfaces.site]
adapter = "simulator"
concurrency = {lane}
options.latency_ms = {latency}
"""
FULL = "SELECT coalesce(sum(processing), 0) >= %s FROM lane_load"
STARTED = """
SELECT array_agg(extract(epoch FROM c.claimed_at)::float8 ORDER BY c.parent_id)
FROM child c JOIN api_key k ON k.id = c.key_id WHERE k.name = 'other'
"""
OTHERS = """
SELECT count(*) = 0 FROM parent p JOIN api_key k ON k.id = p.key_id
WHERE k.name = 'other' AND p.finished_at IS NULL
"""
SERVED = "SELECT count(*) > %s FROM child WHERE state = 'completed'"
SHARES = """
SELECT count(*) FILTER (WHERE k.weight = 1), count(*) FILTER (WHERE k.weight = 3)
FROM child c JOIN api_key k ON k.id = c.key_id WHERE c.state = 'completed'
"""


def run(scale: float) -> list[Row]:
    """A flood of 100,000 parents, then weights 1 and 3."""
    return [*_flood(scale), *_weights(scale)]


def _flood(scale: float) -> list[Row]:
    """The waits of another key's jobs, one a second, in lanes that the flood has filled."""
    parents = max(1_000, int(100_000 * scale))
    with stack.running() as here:
        here.config(CONFIG.format(lane=FLOODED, latency=LATENCY * 1e3))
        seeding.seed(
            here.url, "flood", Work(parents, ("site",), COUNTRIES), limits=LIMITS, lane=FLOODED
        )
        here.worker(slots=100)
        url = here.api()
        secret = here.key("other", LIMITS)
        here.until(FULL, len(COUNTRIES) * FLOODED // 2)
        told = _one_a_second(url, secret, max(2, int(10 * scale)))
        here.until(OTHERS)
        (started,) = here.one(STARTED)
        (left,) = here.one("SELECT count(*) FROM parent WHERE state = 'queued'")
    assert left > 0, left
    waits = [(at - begun) / LATENCY for begun, at in zip(told, started, strict=True)]
    seen = Answered(sum(waits), {202: len(waits)}, waits)
    return [
        Row(
            f"{parents:,} parents flood: another key's waits, p50",
            seen.percentile(0.5),
            "slot times",
            2,
            most=True,
        ),
        Row("  the longest", max(waits), "slot times", 2, most=True),
    ]


def _one_a_second(url: str, secret: str, count: int) -> list[float]:
    """When each submission was answered, in seconds of the clock that the database reads."""
    where = urlsplit(url)
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    told = []
    for number in range(count):
        country = COUNTRIES[number % len(COUNTRIES)]
        body = json.dumps({"query": str(number), "surfaces": ["site"], "regions": [country]})
        with closing(
            http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
        ) as connection:
            connection.request("POST", "/v1/search", body, headers)
            answer = connection.getresponse()
            assert answer.status == 202, answer.read()
            told.append(time.time())
        time.sleep(1)
    return told


def _weights(scale: float) -> list[Row]:
    """Two keys with more than can be served, one with three times the other's weight."""
    served = max(200, int(4_000 * scale))
    work = Work(served, ("site",), COUNTRIES[:1])
    with stack.running() as here:
        here.config(CONFIG.format(lane=SHARED, latency=50))
        for weight in (1, 3):
            limits = LIMITS._replace(weight=weight)
            seeding.seed(here.url, f"weight {weight}", work, limits=limits, lane=SHARED)
        here.worker(slots=100)
        here.until(SERVED, served // 4)
        before = here.one(SHARES)
        here.until(SERVED, served)
        light, heavy = (n - b for n, b in zip(here.one(SHARES), before, strict=True))
    return [
        Row("weights 1 : 3, throughput 1 :", heavy / light, ""),
        Row("  off by", max(heavy / light / 3, 3 * light / heavy), "×", 1.1, most=True),
    ]
