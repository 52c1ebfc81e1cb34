import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter

from tests.chaos import cells, deployment, table
from tests.chaos.cells import Fault, Scale
from tests.chaos.deployment import Deployment
from tests.chaos.rows import Row

LENGTH = "PARALLAX_TEST_CHAOS"
NOTED = "chaos"


@pytest.fixture(scope="session")
def scale() -> Scale:
    """`PARALLAX_TEST_CHAOS=long` is what `make chaos` sets."""
    return cells.LONG if os.environ.get(LENGTH) == "long" else cells.SHORT


@pytest.fixture(scope="module")
async def here(anyio_backend, tmp_path_factory) -> AsyncIterator[Deployment]:
    """A deployment for the cells of a file, one after the other."""
    async with deployment.deployed(tmp_path_factory.mktemp("chaos")) as made:
        yield made


@pytest.fixture
def survives(here, scale, record_property) -> Callable[..., Awaitable[Row]]:
    """Runs a cell, has its row in the table, and holds it to the promise."""

    async def check(name: str, fault: Fault, **limits: Any) -> Row:
        told = await cells.run(here, name, fault, scale, **limits)
        record_property(NOTED, tuple(told.row))
        told.hold(share=scale.share)
        return told.row

    return check


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """The table, if any cell was run."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    rows = [
        Row(*value)
        for report in reports
        if report.when == "call"
        for name, value in report.user_properties
        if name == NOTED
    ]
    if rows:
        terminalreporter.write(table.drawn(rows))
