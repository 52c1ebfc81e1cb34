"""A benchmark's rows, printed as a table."""

from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Row(NamedTuple):
    """One measure; `bar` is what it should reach, `most` says that less is better."""

    what: str
    value: float
    unit: str
    bar: float | None = None
    most: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the bar was reached; None when there is none."""
        if self.bar is None:
            return None
        return self.value <= self.bar if self.most else self.value >= self.bar


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Table(title="Parallax benchmarks (higher is better unless the bar says ≤)")
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_column("bar", justify="right")
    table.add_column("")
    for row in rows:
        bar = "" if row.bar is None else f"{'≤' if row.most else '≥'} {row.bar:,.6g} {row.unit}"
        said = {None: "", True: "reached", False: "[red]missed[/red]"}[row.reached]
        value = f"{row.value:,.0f}" if row.value >= 100 else f"{row.value:,.2f}"
        table.add_row(row.what, f"{value} {row.unit}", bar, said)
    Console().print(table)
