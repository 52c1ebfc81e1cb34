"""What goes to stdout and stderr, and how."""

import os
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

LOG_WIDTH = 120


def console(*, stderr: bool = False) -> "Console":
    """A console for people: colours on a terminal (unless NO_COLOR), plain text in a pipe."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else LOG_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, markup=False)


def note(text: str) -> None:
    """Tell the person something that is not data."""
    typer.echo(text, err=True)


def document(data: object) -> None:
    """Print the JSON of records, mappings and lists: one document on stdout."""
    import msgspec

    typer.echo(msgspec.json.encode(data).decode())


def table(*columns: str, title: str | None = None, right: frozenset[str] = frozenset()) -> "Table":
    """An empty table; the columns in `right` hold numbers."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def plain(text: str) -> str:
    """Text from elsewhere made harmless to a terminal: control characters become U+FFFD."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
