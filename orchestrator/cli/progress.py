"""The progress of one parent: bars that move on a terminal, a line now and then in a log."""

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from orchestrator.domain.documents import ChildSummary, JobRead

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

STEPS = 5
BAR = 32


class Tally(NamedTuple):
    """The cells of one surface or region."""

    name: str
    total: int
    ended: int
    bad: int
    processing: int


def tallies(children: Iterable[ChildSummary], part: str) -> list[Tally]:
    """The children counted by `part` (`surface` or `region`), in order of first appearance."""
    groups: dict[str, list[ChildSummary]] = {}
    for child in children:
        groups.setdefault(getattr(child, part), []).append(child)
    return [_tally(name, group) for name, group in groups.items()]


def _tally(name: str, group: list[ChildSummary]) -> Tally:
    states = [child.status for child in group]
    processing = states.count("processing")
    ended = len(group) - processing - states.count("queued")
    return Tally(name, len(group), ended, ended - states.count("completed"), processing)


def line(read: JobRead) -> str:
    """One line for a log: `processing · 12 of 24 cells ended · 8 processing · 4 queued`."""
    counts = read.job.counts
    whole = _tally("", list(read.children))
    parts = [
        (counts.waiting, "waiting"),
        (counts.queued, "queued"),
        (counts.processing, "processing"),
        (counts.failed, "failed"),
        (counts.canceled, "canceled"),
        (counts.expired, "expired"),
    ]
    said = "".join(f" · {n} {word}" for n, word in parts if n)
    return f"{read.job.status} · {whole.ended} of {whole.total} cells ended{said}"


class Board:
    """Shows each read of a parent it is given; use it in `with`."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._live: Live | None = None
        self._said: tuple[str, int] | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, read: JobRead) -> None:
        """Show the parent as it is now."""
        if self._live:
            self._live.update(_bars(read), refresh=True)
            return
        whole = _tally("", list(read.children))
        milestone = (read.job.status, whole.ended * STEPS // max(whole.total, 1))
        if milestone != self._said:
            self._said = milestone
            self._console.print(line(read))


def _bars(read: JobRead) -> "RenderableType":
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for part in ("surface", "region"):
        grid.add_row(Text(f"by {part}", style="dim"))
        for tally in tallies(read.children, part):
            bar = ProgressBar(total=tally.total, completed=tally.ended, width=BAR)
            bad = Text(f"{tally.bad} not completed" if tally.bad else "", style="red")
            grid.add_row(f"  {tally.name}", bar, f"{tally.ended}/{tally.total}", bad)
    return Group(Text(line(read), style="bold"), grid)
