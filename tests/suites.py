"""All suites in one run: their order, and what each of them took.

One run starts pytest's processes once, and while one suite waits another computes. Whatever has
processes of its own goes first, one after the other: what is left at the end is short.
"""

from collections import Counter
from pathlib import PurePath

import pytest
from _pytest.terminal import TerminalReporter

LONG = ("stateful", "e2e")
"""Suites of tests that take many seconds each."""

_ended: dict[str, Counter[str]] = {}
_seconds: Counter[str] = Counter()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long tests first, then the long suites; in each the order is that of pytest-randomly."""
    items.sort(key=lambda item: (not item.get_closest_marker("thorough"), not _long(item)))


def _long(item: pytest.Item) -> bool:
    return _suite(item.nodeid) in LONG


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what a test, or its set-up or end, took and how it ended."""
    suite = _suite(report.nodeid)
    _seconds[suite] += report.duration
    if report.when == "call" or report.outcome != "passed":
        _ended.setdefault(suite, Counter())[report.outcome] += 1


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """A line for each suite: how its tests ended, and the time of all of them together."""
    for suite, ended in sorted(_ended.items()):
        counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(ended.items()))
        terminalreporter.write_line(f"== {suite}: {counts}, {_seconds[suite]:.0f} s of tests")


def _suite(nodeid: str) -> str:
    return PurePath(nodeid).parts[1]
