"""A benchmark's rows, printed as a table."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from tests.bench import floor


class Row(NamedTuple):
    """One measure; `bar` is what it should reach, `most` says that less is better."""

    what: str
    value: float
    unit: str
    bar: float | None = None
    most: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the bar is reached; None when there is none."""
        if self.bar is None:
            return None
        return self.value <= self.bar if self.most else self.value >= self.bar


class Measured(NamedTuple):
    """Rows of one benchmark, and the machine's speed around it (1: the reference machine's)."""

    rows: Sequence[Row]
    speed: float


def show(measured: Sequence[Measured]) -> None:
    """Print the table."""
    table = Table(
        title="Parallax benchmarks",
        caption="speed: of this machine just then, as constants a second from a bare Litestar"
        f" process against {floor.REFERENCE:,.0f} on the machine the bars were set on",
    )
    table.add_column("what", min_width=38)
    for column in ("measured", "bar", "speed"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for rows, speed in measured:
        for row in rows:
            bar = "" if row.bar is None else f"{'≤' if row.most else '≥'} {row.bar:,.6g}"
            said = {None: "", True: "reached", False: "[red]missed[/red]"}[row.reached]
            table.add_row(row.what, _said(row), bar, f"{speed:.2f}", said)
        table.add_section()
    Console(width=110).print(table)


def _said(row: Row) -> str:
    return f"{row.value:,.0f} {row.unit}" if row.value >= 100 else f"{row.value:,.2f} {row.unit}"
