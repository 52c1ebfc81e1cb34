"""Parents of 40 lanes among a flood of narrow ones in the same lanes."""

from admission.limits import Limits
from tests.bench import seeding, stack
from tests.bench.report import Row
from tests.bench.seeding import Work

LATENCY_MS = 250
LANE = 4
"""The concurrency of each lane; async work may take all but one place."""
SURFACES = ("one", "two")
COUNTRIES = (
    *("US", "GB", "DE", "FR", "ES", "IT", "NL", "SE", "PL", "PT"),
    *("CA", "MX", "BR", "AR", "JP", "KR", "IN", "AU", "ZA", "CH"),
)
LANES = tuple((surface, country) for surface in SURFACES for country in COUNTRIES)
A_SECOND = len(LANES) * (LANE - 1) / LATENCY_MS * 1e3
"""Children that the lanes bear."""
LIMITS = Limits(queue_capacity=10**6, concurrency=400)
WIDE = 10
SECONDS = 12.0
"""How long the flood lasts for each wide parent of its own key: ten until it may go first."""
CONFIG = "".join(
    f"""
[surfaces.{name}]
adapter = "simulator"
concurrency = {LANE}
options.latency_ms = {LATENCY_MS}
"""
    for name in SURFACES
)
BUSY = "SELECT coalesce(sum(processing), 0) >= %s FROM lane_load"
GONE = "SELECT count(*) = 0 FROM parent WHERE total > 1 AND started_at IS NULL"
LEFT = """
SELECT extract(epoch FROM min(started_at) - min(created_at))::float8,
       extract(epoch FROM max(started_at) - min(created_at))::float8,
       (SELECT count(*) FROM parent WHERE state = 'queued')
FROM parent WHERE total > 1
"""
MEANWHILE = """
SELECT count(*) / extract(epoch FROM max(w.until) - min(w.since))::float8
FROM (SELECT min(created_at) AS since, max(finished_at) AS until FROM parent WHERE total > 1) AS w
JOIN parent p ON p.total = 1 AND p.finished_at BETWEEN w.since AND w.until
"""
ENDED = "SELECT count(*) = 0 FROM parent WHERE total > 1 AND finished_at IS NULL"


def run(scale: float) -> list[Row]:
    """Another key's wide parents; the flooding key's own wait ten seconds each."""
    rows = _wide("another", max(2, int(WIDE * scale)))
    return rows + (_wide("the same", int(WIDE * scale)) if WIDE * scale >= 1 else [])


def _wide(whose: str, count: int) -> list[Row]:
    """How soon they leave the queue, and how much of the lanes was used until they had ended."""
    depth = int(A_SECOND / len(LANES) * (SECONDS * count + 10))
    with stack.running() as here:
        here.config(CONFIG)
        none, wide = Work(0, SURFACES, COUNTRIES), Work(count, SURFACES, COUNTRIES)
        flood = seeding.seed(here.url, "flood", none, limits=LIMITS, lane=LANE)
        for surface, country in LANES:
            narrow = Work(depth, (surface,), (country,))
            seeding.more(here.url, flood, narrow, priority=5, lane=LANE)
        here.worker(slots=200)
        here.until(BUSY, len(LANES) * LANE // 2)
        if whose == "another":
            seeding.seed(here.url, "other", wide, limits=LIMITS, lane=LANE)
        else:
            seeding.more(here.url, flood, wide, priority=5)
        here.until(GONE, seconds=SECONDS * count + 10)
        first, last, flooding = here.one(LEFT)
        here.until(ENDED)
        (meanwhile,) = here.one(MEANWHILE)
    assert flooding > 0, flooding
    return [
        Row(f"{count} parents of 40 lanes in {whose} key's flood: the first leaves", first, "s"),
        Row("  the last", last, "s"),
        Row("  places used by narrow ones meanwhile", meanwhile / A_SECOND, ""),
    ]
