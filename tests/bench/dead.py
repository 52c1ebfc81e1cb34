"""What a dead surface costs others: 10,000 parents of it first, then 200 of a sound one."""

from typing import Literal

from admission.limits import Limits
from tests.bench import seeding, stack
from tests.bench.report import Row
from tests.bench.seeding import Work

LATENCY_MS = 250
LANE = 20
LIMITS = Limits(queue_capacity=10**6, concurrency=LANE)
"""A key that may run no more than the dead lane alone would take."""
CONFIG = f"""
[surfaces.dead]
adapter = "simulator"
concurrency = {LANE}
options = {{ latency_ms = {LATENCY_MS}, error_rate = 1 }}
[surfaces.sound]
adapter = "simulator"
concurrency = {LANE}
options.latency_ms = {LATENCY_MS}
"""
SOUND = """
SELECT count(*) FILTER (WHERE p.finished_at IS NULL) = 0,
       extract(epoch FROM max(p.finished_at) - min(p.created_at))::float8
FROM parent p JOIN lane l ON l.id = p.lanes[1] WHERE l.surface = 'sound'
"""
OPENED = "SELECT count(*) > 0 FROM lane WHERE open_until IS NOT NULL"
Whose = Literal["nobody", "another", "the same"]


def run(scale: float) -> list[Row]:
    """How much longer the others take, the dead ones being another key's or their own."""
    alone = _makespan("nobody", scale)
    return [
        Row(
            f"{_many(scale):,} parents of a dead surface, {whose} key's: makespan of others",
            _makespan(whose, scale) / alone,
            "×",
            1.1,
            most=True,
        )
        for whose in ("another", "the same")
    ]


def _many(scale: float) -> int:
    return max(300, int(10_000 * scale))


def _makespan(whose: Whose, scale: float) -> float:
    """Seconds for parents of the sound surface, from when they came to when all had ended."""
    dead = Work(_many(scale), ("dead",), ("US",))
    sound = Work(max(40, int(200 * scale)), ("sound",), ("US",))
    with stack.running() as here:
        here.config(CONFIG)
        here.worker(slots=200)
        stack.wait_for_surfaces(here)
        own = seeding.seed(here.url, "own", sound._replace(parents=0), limits=LIMITS, lane=LANE)
        if whose == "another":
            seeding.seed(here.url, "another", dead, limits=LIMITS, lane=LANE)
        elif whose == "the same":
            seeding.more(here.url, own, dead, priority=5, lane=LANE)
        if whose != "nobody":
            here.until(OPENED)
        seeding.more(here.url, own, sound, priority=5)
        here.until(f"SELECT ended FROM ({SOUND}) AS sound (ended, took)")
        _, took = here.one(SOUND)
    return float(took)
