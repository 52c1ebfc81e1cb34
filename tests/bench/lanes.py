"""The limits of lanes over two workers, by the log of their upstream: kept exactly, and used."""

from collections.abc import Sequence
from itertools import accumulate

from admission.limits import Limits
from tests.bench import seeding, stack, witness
from tests.bench.report import Row
from tests.bench.seeding import Work
from tests.bench.witness import Call

SECONDS = 15
ANSWER_SECONDS = 0.1
AT_ONCE = 8
RATES = {"quick": ("20/s", 20.0), "slow": ("300/min", 5.0)}
FULL = "narrow"
LIMITS = Limits(queue_capacity=10**6, concurrency=400, sync_limit=AT_ONCE)
LEFT = "SELECT count(*) = 0 FROM parent WHERE finished_at IS NULL"


def run(scale: float) -> list[Row]:
    """Two lanes with a rate, one with a concurrency, more than enough of work in each."""
    seconds = max(2, SECONDS * scale)
    with stack.running() as here, witness.witnessing(ANSWER_SECONDS) as upstream:
        here.config(_surfaces(upstream.port))
        issued = seeding.seed(here.url, "bench", _work(FULL, seconds), limits=LIMITS, lane=AT_ONCE)
        for name in RATES:
            seeding.more(here.url, issued, _work(name, seconds), priority=5, lane=100)
        seeding.hold(here.url, issued, FULL, AT_ONCE)  # async work leaves them a place free
        for _ in range(2):
            here.worker(slots=64)
        here.until(LEFT)
        calls = upstream.calls()
    rows = [row for name, (text, rate) in RATES.items() for row in _rated(calls, name, text, rate)]
    return [*rows, *_full(calls)]


def _surfaces(port: int) -> str:
    rated = {name: f'concurrency = 100\nrate = "{text}"' for name, (text, _) in RATES.items()}
    settings = rated | {FULL: f"concurrency = {AT_ONCE}"}
    return "".join(witness.surface(name, port, own) for name, own in settings.items())


def _work(name: str, seconds: float) -> Work:
    """Enough of a lane for so long."""
    most = RATES[name][1] if name in RATES else AT_ONCE / ANSWER_SECONDS
    return Work(int(most * (seconds + 1)), (name,), ("US",))


def _rated(calls: Sequence[Call], name: str, text: str, rate: float) -> list[Row]:
    starts = sorted(call.arrived for call in calls if call.lane == f"{name}/US")
    later = [start for start in starts if start > starts[0] + 1]  # the bucket was full at first
    used = (len(later) - 1) / (rate * (later[-1] - later[0]))
    return [
        Row(
            f"rate {text}: worst window, to rate × w + {rate:.0f}",
            worst_window(starts, rate),
            "×",
            1,
            most=True,
        ),
        Row("  share of the rate used", used, "", 0.95),
    ]


def worst_window(starts: Sequence[float], rate: float) -> float:
    """Starts over those allowed, rate × w + max(1, rate), in the worst window of any length w.

    Windows between two starts are looked at: no other has as many in less time.
    """
    burst = max(1.0, rate)
    return max(
        n / (rate * (last - first) + burst)
        for nth, first in enumerate(starts)
        for n, last in enumerate(starts[nth:], 1)
    )


def _full(calls: Sequence[Call]) -> list[Row]:
    own = [call for call in calls if call.lane == f"{FULL}/US"]
    changes = sorted([(call.arrived, 1) for call in own] + [(call.ended, -1) for call in own])
    most = max(accumulate(change for _, change in changes))
    took = own[-1].ended - own[0].arrived
    places = (AT_ONCE - 1) / ANSWER_SECONDS
    return [
        Row(
            f"concurrency {AT_ONCE}: most at once, to the limit", most / AT_ONCE, "×", 1, most=True
        ),
        Row("  share used of the places of async work", len(own) / took / places, ""),
    ]
