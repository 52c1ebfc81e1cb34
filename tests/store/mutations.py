"""Takes each guard away and names the test that notices: python -m tests.store.mutations [WORD …]

Every mutation is made in a copy of the tree, on a server of its own. Words choose the mutations
whose names have one of them. Exit code 1 when a guard could go unnoticed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from orchestrator import embedded
from tests.conftest import FAST, SERVER
from tests.processes import REPOSITORY

CLAIM = "orchestrator/store/children/claim.py"
SETTLE = "orchestrator/store/children/settle.py"
RESCUE = "orchestrator/store/children/rescue.py"
STAGE = "orchestrator/store/children/stage.py"
COUNTERS = "orchestrator/store/counters.py"
FAN_OUT = "orchestrator/fanout.py"
USAGE = "admission/usage.py"
RUNNER = "workers/roles/runner.py"
SETTLER = "workers/settling.py"
RACES = "tests/store/test_races.py"
CLAIM_RACES = "tests/store/test_races_claim.py"
SETTLE_RACES = "tests/store/test_races_settle.py"
ORDER = "tests/store/test_lock_order.py"
PLANS = "tests/store/test_plans.py"
COUNTED = "tests/store/test_counters.py"
REVIVED = "test_a_fan_out_that_began_before_a_parent_was_canceled_does_not_revive_it"
STORE = (ORDER, CLAIM_RACES, SETTLE_RACES, RACES)


CERTAIN = "not every_promise and not does_not_deadlock"
"""What meets by chance is left out: a guard is held by a test that fails every time."""


class Mutation(NamedTuple):
    """A guard, the file it is in, what is put in its place, and the tests that should notice."""

    guard: str
    file: str
    change: Callable[[str], str]
    tests: tuple[str, ...] = STORE


def swap(*pairs: tuple[str, str]) -> Callable[[str], str]:
    """Replace the first occurrence of each text; every one must be there."""

    def change(text: str) -> str:
        for old, new in pairs:
            if old not in text:
                raise ValueError(f"not there any more: {old!r}")
            text = text.replace(old, new, 1)
        return text

    return change


def usage_last(function: str) -> Callable[[str], str]:
    """Move the upsert of `usage` behind the other counters of a trigger function."""

    def change(text: str) -> str:
        start = text.index(f"{function} = ")
        begin = text.index("  INSERT INTO usage", start)
        end = text.index("\n\n", begin) + 2
        close = text.index("  RETURN NULL;\nEND $$", end)
        return text[:begin] + text[end:close] + text[begin:end] + text[close:]

    return change


NO_LOCK = ('        await connection.execute(LOCK, {"lock": LOCK_ID})\n', "")
LOCKED = "SELECT pg_advisory_xact_lock(7201003)::text AS it"
SAME_STATEMENT = (
    NO_LOCK,
    (
        "WITH lanes AS MATERIALIZED (",
        f"WITH held AS MATERIALIZED ({LOCKED}), lanes AS MATERIALIZED (",
    ),
    ("  FROM lane l\n  JOIN lane_load", "  FROM held CROSS JOIN lane l\n  JOIN lane_load"),
    ("WHERE x.queued > 0 AND", "WHERE held.it IS NOT NULL AND x.queued > 0 AND"),
)
RECOUNT = "(SELECT count(*) FROM child s WHERE s.parent_id = p.id AND s.finished_at IS NOT NULL)"
HELD = ", (SELECT count(*) FROM locked) AS held"

MUTATIONS = (
    Mutation("claim: advisory lock", CLAIM, swap(NO_LOCK)),
    Mutation("claim: the lock is a statement of its own", CLAIM, swap(*SAME_STATEMENT)),
    Mutation("claim: state asked again", CLAIM, swap(("  WHERE lower(c.state) = 'queued'\n", ""))),
    Mutation("claim: SKIP LOCKED", CLAIM, swap((" OF c SKIP LOCKED", " OF c"))),
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
                "  WHERE p.id = picked.id AND",
                "  WHERE lower(p.state) = 'queued' AND p.id = picked.id AND",
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
    Mutation("admission: usage locked", USAGE, swap(("\nFOR NO KEY UPDATE", ""))),
    Mutation(
        "admission: usage locked by key",
        USAGE,
        swap(("ORDER BY key_id", "ORDER BY key_id DESC")),
    ),
    Mutation(
        "settle: claim token in the fence",
        SETTLE,
        swap(("AND c.claim = o.claim", "AND lower(c.state) = 'processing'")),
    ),
    Mutation(
        "settle: done = done + n, no recount",
        SETTLE,
        swap(*[("p.done + e.n", f"{RECOUNT} + e.n")] * 3),
    ),
    Mutation("settle: parents before children", SETTLE, swap((HELD, ""))),
    Mutation("settle: parents by id", SETTLE, swap(("ORDER BY id FOR", "ORDER BY id DESC FOR"))),
    Mutation(
        "settle: one outcome a child",
        SETTLE,
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
                "unnest(ks, qs, xs, rs) t(k, q, x, r)\n  GROUP BY 1 ORDER BY 1\n",
                "unnest(ks, qs, xs, rs) t(k, q, x, r)\n  GROUP BY 1 ORDER BY 1 DESC\n",
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
    Mutation("parent trigger: usage first", COUNTERS, usage_last("COUNT_PARENTS")),
    Mutation(
        "parent trigger: usage by key",
        COUNTERS,
        swap(
            (
                "unnest(ks, ds) t(k, d) GROUP BY 1 ORDER BY 1",
                "unnest(ks, ds) t(k, d) GROUP BY 1 ORDER BY 1 DESC",
            )
        ),
    ),
    Mutation(
        "limits: usage by key",
        COUNTERS,
        swap(("FROM after ORDER BY 1\n", "FROM after ORDER BY 1 DESC\n")),
    ),
    Mutation(
        "counters: retries are part of the backlog",
        COUNTERS,
        swap(("SELECT k, p, sum(q + r) FROM", "SELECT k, p, sum(q) FROM")),
        (COUNTED,),
    ),
    Mutation(
        "counters: each cell waits in its own lane",
        COUNTERS,
        swap(
            (
                "SELECT key_id, l, count(*) FROM after, unnest(lanes) l",
                "SELECT key_id, l, 1 FROM after, unnest(lanes) l",
            )
        ),
        (COUNTED,),
    ),
    Mutation(
        "counters: next to nothing does not underflow",
        COUNTERS,
        lambda text: text.replace("WHEN n > 1e-9", "WHEN true"),
        ("tests/store/test_admission.py",),
    ),
    Mutation(
        "plans: the fence alone finds a child",
        SETTLE,
        swap(("AND c.claim = o.claim", "AND c.claim = o.claim AND c.state = 'processing'")),
        (PLANS,),
    ),
    Mutation(
        "plans: the claim's state is asked aside",
        CLAIM,
        swap(("WHERE lower(c.state) = 'queued'", "WHERE c.state = 'queued'")),
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


def noticed(mutation: Mutation, url: str) -> str | None:
    """The first test that fails without the guard; None when all pass."""
    with tempfile.TemporaryDirectory(prefix="parallax-mutation-") as place:
        tree = Path(place, "tree")
        tree.mkdir()
        for name in ("admission", "orchestrator", "workers", "tests"):
            shutil.copytree(
                REPOSITORY / name, tree / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        shutil.copy(REPOSITORY / "pyproject.toml", tree)
        file = tree / mutation.file
        file.write_text(mutation.change(file.read_text()))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        run = subprocess.run(
            [*command, "-p", "no:randomly", "-k", CERTAIN, "-m", "not slow", *mutation.tests],
            cwd=tree,
            env=os.environ | {SERVER: url, "PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            check=False,
        )
    failed = re.search(r"^(?:FAILED|ERROR) \S+?::(\S+)", run.stdout, re.MULTILINE)
    if run.returncode not in {0, 1} or (run.returncode == 1 and failed is None):
        raise RuntimeError(run.stdout + run.stderr)
    return failed[1] if failed else None


def main(words: list[str]) -> int:
    """Print guard and test, one line each."""
    chosen = [m for m in MUTATIONS if not words or any(word in m.guard for word in words)]
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
