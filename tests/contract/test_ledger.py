"""The ledger: every promise of the contract that exists, with the tests that keep it."""

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LINE = re.compile(r"- §\d+ .+ → (?P<tests>`[^`]+`(?:, `[^`]+`)*)")
LINES = [line for line in (HERE / "LEDGER.md").read_text().splitlines() if line.startswith("- ")]


def functions(file: Path) -> set[str]:
    """The test functions of a file, without importing it; methods as `Class::method`."""
    found = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{n.name}" for n in node.body if hasattr(n, "name")}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
    return found


@pytest.mark.parametrize("line", LINES)
def test_each_promise_has_its_test(line):
    """A line names tests that exist: a promise whose test was renamed or lost fails here."""
    match = LINE.fullmatch(line)
    assert match, "a line is: - §2 the promise → `tests/file.py::test_name`, …"
    for named in match["tests"].split(", "):
        file, _, test = named.strip("`").partition("::")
        assert (ROOT / file).is_file(), f"no file {file}"
        assert test in functions(ROOT / file), f"no test {test} in {file}"


def test_no_promise_stands_twice():
    """A promise has one line, however many tests keep it."""
    promises = [line.partition(" → ")[0] for line in LINES]
    assert len(promises) == len(set(promises))
