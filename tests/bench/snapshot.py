"""The snapshot over HTTP, callers waiting: what it costs must not depend on the backlog."""

import asyncio

import uvloop

from admission.limits import Limits
from tests.bench import loading, seeding, stack
from tests.bench.loading import Answered
from tests.bench.report import Row
from tests.bench.seeding import Work

SURFACES = ("alpha", "beta", "gamma", "delta", "epsilon")
COUNTRIES = ("US", "GB", "DE", "FR")
CALLERS = 8
LIMITS = Limits(queue_capacity=10**6, requests_per_minute=10**6, sync_limit=CALLERS)
ROUNDS = 6


def run(scale: float) -> list[Row]:
    """p50 and p99 of `GET /v1/async/status`, 100 parents waiting against 100,000 (2 M cells)."""
    many = max(200, int(100_000 * scale))
    asked = max(20, int(500 * scale))
    with stack.running() as here:
        keys = [
            seeding.seed(
                here.url, f"bench{n}", Work(n, SURFACES, COUNTRIES), limits=LIMITS, lane=100
            )
            for n in (100, many)
        ]
        for issued in keys:
            seeding.hold(here.url, issued, SURFACES[0], CALLERS)
        small, large = _measured(here.api(), [issued.secret for issued in keys], asked)
    ratio = large.percentile(0.5) / small.percentile(0.5)
    return [
        Row("snapshot p50, 100 parents waiting", small.percentile(0.5) * 1e3, "ms"),
        Row(
            f"snapshot p50, {many:,} parents waiting",
            large.percentile(0.5) * 1e3,
            "ms",
            2,
            most=True,
        ),
        Row("  against 100", ratio, "×", 1.5, most=True),
        Row("  p99", large.percentile(0.99) * 1e3, "ms"),
        Row(
            "  p99 against 100",
            large.percentile(0.99) / small.percentile(0.99),
            "×",
            1.5,
            most=True,
        ),
    ]


def _measured(url: str, secrets: list[str], asked: int) -> list[Answered]:
    """Both backlogs asked in turns, so that whatever else the machine does meets both alike."""
    requests = [loading.request("GET", "/v1/async/status", secret) for secret in secrets]
    latencies: list[list[float]] = [[], []]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for turn in range(ROUNDS + 1):
            for number, ask in enumerate(requests):
                answered = runner.run(
                    loading.load(url, lambda _, ask=ask: ask, count=asked, connections=1)
                )
                assert set(answered.statuses) == {200}, answered.statuses
                if turn:  # the first warms up
                    latencies[number].extend(answered.latencies)
    return [Answered(sum(each), {200: len(each)}, each) for each in latencies]
