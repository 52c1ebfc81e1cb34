"""What a mutation is, and how it is found out whether somebody notices."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.conftest import SERVER
from tests.processes import REPOSITORY

CLAIM = "orchestrator/store/children/claim.py"
SETTLE = "orchestrator/store/children/settle.py"
RESCUE = "orchestrator/store/children/rescue.py"
STAGE = "orchestrator/store/children/stage.py"
COUNTERS = "orchestrator/store/counters/children.py"
PARENT_COUNTERS = "orchestrator/store/counters/parents.py"
LIMITS = "orchestrator/store/counters/limits.py"
RATES = "orchestrator/store/counters/rates.py"
WAITS = "orchestrator/store/waits.py"
NODES = "orchestrator/store/nodes.py"
SURFACES = "orchestrator/store/surfaces.py"
FAN_OUT = "orchestrator/fanout.py"
OUTCOME_ROWS = "orchestrator/store/children/outcome_rows.py"
PACE = "orchestrator/store/counters/pace.py"
STRANDS = "orchestrator/store/strands.py"
LANE_PACE = "orchestrator/store/children/pace.py"
LANE_ORDERS = "orchestrator/store/lanes/orders.py"
STOP = "orchestrator/store/steering/stop.py"
CANCEL = "orchestrator/store/steering/cancel.py"
RETRY = "orchestrator/store/steering/retry.py"
ERASE = "orchestrator/store/steering/erase.py"
PRUNE = "orchestrator/store/pruning.py"
TELLING = "orchestrator/store/deliveries/tell.py"
KEEPING = "orchestrator/store/deliveries/keeping.py"
CLAIM_DELIVERIES = "orchestrator/store/deliveries/claim.py"
RECORD = "orchestrator/store/deliveries/record.py"
RANGES = "orchestrator/store/deliveries/ranges.py"
DISMISS = "orchestrator/store/steering/dismiss.py"
LANE_PLACES = "orchestrator/store/lanes/places.py"
TASKS = "orchestrator/store/tasks.py"
REPLAY = "orchestrator/store/deliveries/replay.py"
USAGE = "admission/usage.py"
RUNNER = "workers/roles/runner.py"
SETTLER = "workers/settling.py"
RACES = "tests/store/test_races.py"
CLAIM_RACES = "tests/store/test_races_claim.py"
SETTLE_RACES = "tests/store/test_races_settle.py"
ORDER = "tests/store/test_lock_order.py"
PLANS = "tests/store/test_plans.py"
COUNTED = "tests/store/test_counters.py"
WAITED = "tests/store/test_waits.py"
WAIT_RACES = "tests/store/test_races_waits.py"
SYNC_CLAIMS = "tests/store/test_claim_sync.py"
BREAKER = "tests/store/test_breaker.py"
FANNED_OUT = "tests/store/test_fanout.py"
STEERED = "tests/store/test_steering.py"
STEERING_RACES = "tests/store/test_races_steering.py"
PRUNED = "tests/store/test_pruning.py"
TOLD = "tests/store/test_telling.py"
DELIVERIES = "tests/store/test_deliveries.py"
DELIVERY_PLANS = "tests/store/test_plans_deliveries.py"
BUDGETS = "tests/store/test_budgets.py"
TASK_PLANS = "tests/store/test_plans_tasks.py"
BEATS = "tests/store/test_heartbeat.py"
RESCUES = "tests/store/test_rescue.py"
RESCUED = "tests/workers/test_rescuer.py"
REVIVED = "test_a_fan_out_that_began_before_a_parent_was_canceled_does_not_revive_it"
STORE = (ORDER, CLAIM_RACES, SETTLE_RACES, RACES)


MIGRATE = """
import sys
from pathlib import Path
from orchestrator.store import counters
Path(sys.argv[1]).write_text(";".join(counters.FUNCTIONS))
"""
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


def _migrate_to(tree: Path) -> None:
    """Have the newest migration of the counters make those of this tree."""
    versions = tree / "orchestrator/store/migrations/versions"
    newest = max(versions.glob("*_counters.sql"))
    subprocess.run([sys.executable, "-c", MIGRATE, newest], cwd=tree, check=True)


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
        _migrate_to(tree)
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
