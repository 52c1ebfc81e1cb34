"""Real HTTP captures: one worker process against an upstream process on loopback, ~1 KB replies."""

from admission.limits import Limits
from tests.bench import seeding, stack
from tests.bench.report import Row
from tests.bench.seeding import Work

COUNTRIES = ("US", "GB", "DE", "FR")
CONFIG = """
[surfaces.site]
adapter = "http"
concurrency = 100
[surfaces.site.options]
url = "http://127.0.0.1:{port}/search?q={{query}}&cc={{country}}"
format = "json"
text = "answer.text"
sources = "results[].{{url: link, title: title}}"
"""


def run(scale: float) -> list[Row]:
    """Captures a second of an `http` surface that answers at once."""
    work = Work(max(10, int(4_000 * scale)), ("site",), COUNTRIES)
    limits = Limits(queue_capacity=10**6, concurrency=4_000)
    with stack.running() as here, stack.server("tests.bench.upstream") as port:
        here.config(CONFIG.format(port=port))
        seeding.seed(here.url, "bench", work, limits=limits, lane=100)
        here.worker(slots=256)
        took = seeding.span(here.url, work, seconds=120)
    return [Row("real HTTP captures, one worker process", work.cells / took, "/s", 2_000)]
