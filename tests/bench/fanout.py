"""Fan-out work: 2,000 parents × 20 cells on the simulator at 0 ms, one worker process."""

from admission.limits import Limits
from tests.bench import seeding, stack
from tests.bench.report import Row
from tests.bench.seeding import Work

SURFACES = ("alpha", "beta", "gamma", "delta", "epsilon")
CONFIG = "\n".join(
    f"""
[surfaces.{name}]
adapter = "simulator"
concurrency = 1000
options = {{latency_ms = 0, answer_chars = 300}}
"""
    for name in SURFACES
)


def run(scale: float) -> list[Row]:
    """Children a second: fanned out, claimed, captured, recorded (~1 KB each), parents ended."""
    work = Work(max(20, int(2_000 * scale)), SURFACES, ("US", "GB", "DE", "FR"))
    limits = Limits(queue_capacity=10**6, concurrency=4_000)
    with stack.running() as here:
        here.config(CONFIG)
        seeding.seed(here.url, "bench", work, limits=limits, lane=1_000)
        here.worker(slots=400)
        took = seeding.span(here.url, work, seconds=120)
    return [Row("fan-out work, one worker process", work.cells / took, "children/s", 5_000)]
