"""The table of all cells of a run, at its end."""

import io
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tests.chaos.rows import Row


def drawn(rows: Sequence[Row]) -> str:
    """The rows as people read them."""
    table = Table(title="Chaos: work goes on after every fault")
    table.add_column("fault", min_width=34)
    columns = ("before", "during", "after", "back in", "lost", "doubled", "excused")
    for column in (*columns, "told", "again"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        back = "never" if row.seconds is None else f"{row.seconds:.1f} s"
        during = "" if row.during is None else f"{row.during:.0%}"
        shares = f"{row.baseline:.0f}/s", during, f"{row.share:.0%}"
        counts = map(str, (row.lost, row.doubled, row.excused, row.events, row.repeated))
        table.add_row(row.cell, *shares, back, *counts)
    told = io.StringIO()
    Console(file=told, width=130).print(table)
    return told.getvalue()
