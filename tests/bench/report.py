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

    def scaled(self, speed: float) -> float:
        """The value on the reference machine, when this one has `speed` of its speed."""
        if self.unit.endswith("/s"):
            return self.value / speed
        return self.value * speed if self.unit == "ms" else self.value

    def reached(self, value: float) -> bool | None:
        """Whether this value reaches the bar; None when there is none."""
        if self.bar is None:
            return None
        return value <= self.bar if self.most else value >= self.bar


class Measured(NamedTuple):
    """Rows of one benchmark, and the machine's speed around it (1: the reference machine's)."""

    rows: Sequence[Row]
    speed: float


def show(measured: Sequence[Measured]) -> None:
    """Print the table."""
    table = Table(
        title="Parallax benchmarks",
        caption="speed: of this machine just then, as constants a second from a bare Litestar"
        f" process against {floor.REFERENCE:,.0f}; the bars are judged at speed 1",
    )
    table.add_column("what", min_width=38)
    for column in ("measured", "speed", "at speed 1", "bar"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for rows, speed in measured:
        for row in rows:
            there = row.scaled(speed)
            bar = "" if row.bar is None else f"{'≤' if row.most else '≥'} {row.bar:,.6g}"
            said = {None: "", True: "reached", False: "[red]missed[/red]"}[row.reached(there)]
            table.add_row(
                row.what, _said(row.value, row.unit), f"{speed:.2f}", _said(there, ""), bar, said
            )
        table.add_section()
    Console(width=110).print(table)


def _said(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:,.2f} {unit}"
