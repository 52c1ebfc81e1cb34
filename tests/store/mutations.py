"""Takes each guard away and names the test that notices: python -m tests.store.mutations [WORD …]

Every mutation is made in a copy of the tree, on a server of its own. Words choose the mutations
whose names have one of them. Exit code 1 when a guard could go unnoticed.
"""

import sys
import tempfile
from pathlib import Path

from orchestrator import embedded
from tests.conftest import FAST
from tests.store.mutating import (
    CLAIM,
    COUNTED,
    COUNTERS,
    FAN_OUT,
    LIMITS,
    OUTCOME_ROWS,
    PARENT_COUNTERS,
    PLANS,
    RACES,
    RATES,
    RESCUE,
    REVIVED,
    RUNNER,
    SETTLE,
    SETTLER,
    STAGE,
    USAGE,
    Mutation,
    noticed,
    swap,
    usage_last,
)
from tests.store.mutations_budgets import BUDGET
from tests.store.mutations_deliveries import DELIVERY
from tests.store.mutations_lanes import LANES
from tests.store.mutations_liveness import LIVENESS
from tests.store.mutations_pruning import PRUNING
from tests.store.mutations_steering import STEER
from tests.store.mutations_sync import SYNC

NO_LOCK = ('        await connection.execute(LOCK, {"lock": LOCK_ID})\n', "")
LOCKED = "SELECT pg_advisory_xact_lock(7201003)::text AS it"
SAME_STATEMENT = (
    NO_LOCK,
    (
        "WITH server AS MATERIALIZED (",
        f"WITH held AS MATERIALIZED ({LOCKED}), server AS MATERIALIZED (",
    ),
    ("  FROM server s\n  CROSS JOIN lane l", "  FROM held CROSS JOIN server s CROSS JOIN lane l"),
    ("WHERE x.queued > 0 AND", "WHERE held.it IS NOT NULL AND x.queued > 0 AND"),
)
FENCE = "WHERE c.parent_id = o.parent_id AND c.ordinal = o.ordinal AND c.claim = o.claim"
RECOUNT = "(SELECT count(*) FROM child s WHERE s.parent_id = p.id AND s.finished_at IS NOT NULL)"
HELD = ", (SELECT count(*) FROM locked) AS held"

COUNTED_PARENTS = "unnest(ks, ds, ys, ts, hs, gs, ns) t(k, d, y, t, h, g, n)"
MUTATIONS = (
    Mutation("claim: advisory lock", CLAIM, swap(NO_LOCK)),
    Mutation("claim: the lock is a statement of its own", CLAIM, swap(*SAME_STATEMENT)),
    Mutation("claim: state asked again", CLAIM, swap((" AND lower(state) = 'queued'\n", "\n"))),
    Mutation("claim: SKIP LOCKED", CLAIM, swap(("UPDATE SKIP LOCKED) AS c", "UPDATE) AS c"))),
    Mutation(
        "fan-out: advisory lock",
        FAN_OUT,
        swap(("pg_try_advisory_xact_lock(%(lock)s) AS mine", "%(lock)s > 0 AS mine")),
    ),
    Mutation(
        "fan-out: state asked again", FAN_OUT, swap(("    AND lower(p.state) = 'queued'\n", ""))
    ),
    Mutation(
        "fan-out: SKIP LOCKED",
        FAN_OUT,
        swap(("  FOR NO KEY UPDATE SKIP LOCKED", "  FOR NO KEY UPDATE")),
    ),
    Mutation(
        "fan-out: insert driven by RETURNING (the pick locks nothing)",
        FAN_OUT,
        swap(
            ("    AND lower(p.state) = 'queued'\n", ""),
            ("  FOR NO KEY UPDATE SKIP LOCKED", ""),
            (
                "  WHERE id = ANY(ARRAY(SELECT id FROM picked))",
                "  WHERE lower(state) = 'queued' AND id = ANY(ARRAY(SELECT id FROM picked))",
            ),
            ("FROM moved m, unnest", "FROM parent m JOIN picked USING (id), unnest"),
        ),
        (f"{RACES}::{REVIVED}",),
    ),
    Mutation(
        "fan-out: usage locked by key",
        FAN_OUT,
        swap(("  ORDER BY u.key_id\n  FOR NO", "  ORDER BY u.key_id DESC\n  FOR NO")),
    ),
    Mutation("admission: usage locked", USAGE, swap(("\nFOR NO KEY UPDATE OF usage", ""))),
    Mutation(
        "admission: usage locked by key",
        USAGE,
        swap(("ORDER BY key_id", "ORDER BY key_id DESC")),
    ),
    Mutation(
        "settle: claim token in the fence",
        SETTLE,
        swap((FENCE, FENCE.replace("c.claim = o.claim", "lower(c.state) = 'processing'"))),
    ),
    Mutation(
        "settle: done = done + n, no recount",
        SETTLE,
        swap(*[("p.done + e.n", f"{RECOUNT} + e.n")] * 3),
    ),
    Mutation(
        "settle: parents before children",
        SETTLE,
        swap((" ORDER BY id FOR NO KEY UPDATE\n), counted", "\n), counted")),
    ),
    Mutation("settle: parents by id", SETTLE, swap(("ORDER BY id FOR", "ORDER BY id DESC FOR"))),
    Mutation(
        "settle: one outcome a child",
        OUTCOME_ROWS,
        swap(
            (
                "rows = {outcome.fence: _row(outcome) for outcome in reversed(outcomes)}",
                "rows = dict(enumerate(map(_row, reversed(outcomes))))",
            )
        ),
        ("tests/store/test_settle.py",),
    ),
    Mutation("rescue: parents before children", RESCUE, swap((HELD, ""))),
    Mutation("rescue: parents by id", RESCUE, swap(("ORDER BY id FOR", "ORDER BY id DESC FOR"))),
    Mutation(
        "rescue: state and node asked again",
        RESCUE,
        swap(
            (
                "AND lower(c.state) = 'processing' AND c.node = ANY(ARRAY(SELECT node FROM dead))",
                "",
            )
        ),
    ),
    Mutation(
        "stage: state asked again", STAGE, swap(("  WHERE lower(c.state) = 'retrying'\n", ""))
    ),
    Mutation("stage: SKIP LOCKED", STAGE, swap((" OF c SKIP LOCKED", " OF c"))),
    Mutation("child trigger: usage first", COUNTERS, usage_last("COUNT_CHILDREN")),
    Mutation(
        "child trigger: usage by key",
        COUNTERS,
        swap(
            (
                "t(k, p, q, x, r, e, w)) t\n  GROUP BY 1 ORDER BY 1\n",
                "t(k, p, q, x, r, e, w)) t\n  GROUP BY 1 ORDER BY 1 DESC\n",
            )
        ),
    ),
    Mutation(
        "child trigger: lanes by id",
        COUNTERS,
        swap(
            (
                "GROUP BY 1 ORDER BY 1\n  ON CONFLICT (lane_id)",
                "GROUP BY 1 ORDER BY 1 DESC\n  ON CONFLICT (lane_id)",
            )
        ),
    ),
    Mutation("parent trigger: usage first", PARENT_COUNTERS, usage_last("COUNT_PARENTS")),
    Mutation(
        "parent trigger: usage by key",
        PARENT_COUNTERS,
        swap(
            (
                f"{COUNTED_PARENTS}\n  GROUP BY 1 ORDER BY 1",
                f"{COUNTED_PARENTS}\n  GROUP BY 1 ORDER BY 1 DESC",
            )
        ),
    ),
    Mutation(
        "limits: usage by key",
        LIMITS,
        swap(("FROM after ORDER BY 1\n", "FROM after ORDER BY 1 DESC\n")),
    ),
    Mutation(
        "counters: retries are part of the backlog",
        COUNTERS,
        swap(("ELSE p END, sum(q + r)\n", "ELSE p END, sum(q)\n")),
        (COUNTED,),
    ),
    Mutation(
        "counters: each cell waits in its own lane",
        PARENT_COUNTERS,
        swap(
            (
                "count(*) FILTER (WHERE state IN ('queued', 'delayed')), count(*)\n",
                "1, count(*)\n",
            )
        ),
        (COUNTED,),
    ),
    Mutation(
        "counters: next to nothing does not underflow",
        RATES,
        lambda text: text.replace("WHEN n > 1e-9", "WHEN true"),
        ("tests/store/test_admission.py",),
    ),
    Mutation(
        "plans: the fence alone finds a child",
        SETTLE,
        swap((FENCE, FENCE.replace("c.claim", "c.state = 'processing' AND c.claim"))),
        (PLANS,),
    ),
    Mutation(
        "plans: the claim's state is asked aside",
        CLAIM,
        swap(("AND lower(state) = 'queued'", "AND state = 'queued'")),
        (PLANS,),
    ),
    Mutation(
        "plans: the fan-out's state is asked aside",
        FAN_OUT,
        swap(("AND lower(p.state) = 'queued'", "AND p.state = 'queued'")),
        (PLANS,),
    ),
    Mutation(
        "plans: claim under its settings",
        CLAIM,
        swap(("await connection.execute(plans.PROBE)", "pass")),
        (PLANS,),
    ),
    Mutation(
        "plans: settle under its settings",
        SETTLE,
        swap(("await connection.execute(plans.PROBE)", "pass")),
        (PLANS,),
    ),
    Mutation(
        "runner: a claim's lost answer is asked for",
        RUNNER,
        swap(("if self._token is None:", "if self._token is None or self._token:")),
        ("tests/workers/test_runner.py",),
    ),
    Mutation(
        "settler: only an outcome's own fault fails its child",
        SETTLER,
        swap(("psycopg.DataError, psycopg.errors.ProgramLimitExceeded", "psycopg.Error")),
        ("tests/workers/test_settling.py",),
    ),
)


def main(words: list[str]) -> int:
    """Print guard and test, one line each."""
    every = MUTATIONS + SYNC + STEER + LANES + PRUNING + LIVENESS + DELIVERY + BUDGET
    chosen = [m for m in every if not words or any(word in m.guard for word in words)]
    unnoticed = 0
    with (
        tempfile.TemporaryDirectory(prefix="parallax-mutations-") as place,
        embedded.start(Path(place), options=FAST) as running,
    ):
        for mutation in chosen:
            test = noticed(mutation, running.place.url("postgres"))
            unnoticed += test is None
            print(f"{mutation.guard:<62} {test or 'NOBODY NOTICED'}", flush=True)  # noqa: T201
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
