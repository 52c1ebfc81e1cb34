"""`python -m tests.bench [NAME…]`: the benchmarks, one table. Each starts a database of its own."""

import argparse

from tests.bench import (
    adapters,
    batches,
    breaker,
    captures,
    dead,
    deliveries,
    fairness,
    fanout,
    flat,
    floor,
    lanes,
    normalising,
    pruning,
    report,
    snapshot,
    starts,
    steering,
    submissions,
    sync,
    telling,
    waiting,
    wide,
)
from tests.bench.report import Measured

BENCHES = {
    "fanout": fanout.run,
    "submissions": submissions.run,
    "batches": batches.run,
    "sync": sync.run,
    "waiting": waiting.run,
    "snapshot": snapshot.run,
    "captures": captures.run,
    "adapters": adapters.run,
    "steering": steering.run,
    "lanes": lanes.run,
    "breaker": breaker.run,
    "fairness": fairness.run,
    "dead": dead.run,
    "wide": wide.run,
    "pruning": pruning.run,
    "starts": starts.run,
    "flat": flat.run,
    "telling": telling.run,
    "deliveries": deliveries.run,
    "normalising": normalising.run,
}

parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}")
parser.add_argument("--scale", type=float, default=1.0, help="share of the full size")
arguments = parser.parse_args()
if unknown := set(arguments.names) - BENCHES.keys():
    parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
measured = []
floors = [floor.measure()]
for name in arguments.names or BENCHES:
    rows = BENCHES[name](arguments.scale)
    floors.append(floor.measure())
    measured.append(Measured(rows, sum(floors[-2:]) / 2 / floor.REFERENCE))
report.show(measured)
