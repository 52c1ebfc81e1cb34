"""What the table says of a cell, from when what happened and what the auditor found (pure)."""

from collections.abc import Sequence
from typing import NamedTuple

from tests.chaos import meter
from tests.chaos.auditor import Findings

MOMENT_SECONDS = 1.0
"""A fault as short as this is over at once."""


class Row(NamedTuple):
    """A line of the table. `during` and `share` are of the rate before; `seconds` to recover.

    A fault of a moment has no `during`. Of so many events each was told, `repeated` ones again.
    """

    cell: str
    baseline: float
    during: float | None
    share: float
    seconds: float | None
    lost: int
    doubled: int
    excused: int
    events: int
    repeated: int


class Course(NamedTuple):
    """When what happened (epoch seconds), and the rate before."""

    struck: float
    over: float
    back: float | None
    end: float
    baseline: float

    def row(self, name: str, moments: Sequence[float], found: Findings) -> Row:
        """What the table says of it; `moments` are those at which the upstream answered well."""
        during = None
        if self.over - self.struck > MOMENT_SECONDS:
            during = meter.rate(moments, self.struck, self.over) / self.baseline
        return Row(
            cell=name,
            baseline=self.baseline,
            during=during,
            share=meter.rate(moments, self.back or self.over, self.end) / self.baseline,
            seconds=None if self.back is None else self.back - self.over,
            lost=len(found.lost),
            doubled=len(found.doubled),
            excused=len(found.excused),
            events=found.events,
            repeated=found.repeated,
        )
