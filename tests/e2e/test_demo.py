"""The demo as a real process: what it shows, and that it leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

DEMO = (sys.executable, "-m", "orchestrator", "demo")
SHOWN = (
    r"answers after \d",
    r"202 Accepted: job_\w{26}, 6 surfaces in 4 regions, 24 cells",
    r"completed · 24 of 24 cells ended",
    r"https?://\S+",
    r"site +US +completed",
    r"Before +During +After",
    r"cells in flight +0 +[1-9]\d* +0",
    r"429 QUEUE_CAPACITY_EXCEEDED",
    r'"watch":"admissionQueue"',
    r"snapshot: 3 of 3 waiting, room for 0",
    r"Nothing is left running",
)


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where the demo makes its temporary directory: a short path, as a socket has to fit in."""
    with tempfile.TemporaryDirectory(prefix="parallax-e2e-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        yield Path(made)


def start(directory: Path) -> subprocess.Popen[str]:
    outside = {
        name: value for name, value in os.environ.items() if not name.startswith("PARALLAX_")
    }
    return subprocess.Popen(
        DEMO,
        env=outside | {"COLUMNS": "80", "TMPDIR": str(directory), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left(directory: Path) -> list[bytes]:
    """The command lines of processes that have to do with this directory."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            told = process.joinpath("cmdline").read_bytes()
            known = told + process.joinpath("environ").read_bytes()
        except OSError:  # no process, or one that has just ended
            continue
        if os.fsencode(directory) in known:
            found.append(told)
    return found


def gone(directory: Path) -> bool:
    """Whether nothing of it is left, looked for anew while the last one is just ending."""
    return any(not left(directory) for _ in range(50))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_the_demo_shows_the_main_job_and_leaves_nothing(directory):
    """It exits 0 with answers, three snapshots and a typed refusal; no process, no file stays."""
    demo = start(directory)
    shown, errors = demo.communicate(timeout=100)
    assert demo.returncode == 0, errors
    assert [pattern for pattern in SHOWN if not re.search(pattern, shown)] == []
    assert "\x1b" not in shown
    assert errors == ""
    assert gone(directory)
    assert list(directory.iterdir()) == []


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_told_to_end_leaves_nothing(directory, number):
    """Ctrl-C or SIGTERM in its middle: it stops everything, quietly, and cleans up."""
    demo = start(directory)
    assert demo.stdout is not None
    assert any("202 Accepted" in line for line in demo.stdout)
    assert left(directory)
    demo.send_signal(number)
    _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert errors == ""
    assert gone(directory)
    assert list(directory.iterdir()) == []
