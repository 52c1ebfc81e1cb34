"""A plan: a parsed submission, and the cells (surface × region) it stands for."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from orchestrator.domain import webhooks
from orchestrator.domain.dialects.task_types import TaskType
from orchestrator.domain.regions import Region, tokens
from orchestrator.domain.webhooks import Webhook

NO_DELAY = 0.0
"""This very object: a default is left out of JSON, and so of fingerprints, by identity."""


class Cell(NamedTuple):
    """One place a parent looks from, before it is a child. Ordinals count from 1, surface-major."""

    ordinal: int
    surface: str
    region: Region
    token: str


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client asked for, aliases and defaults resolved. Stored as the parent's payload.

    `delay` and `deadline` are seconds from acceptance; so many completed cells as `finish` says are
    enough (None: all of them); an estimate above `max_credits` refuses it. `costs` are the credits
    of a cell by surface where it has any, and `coalesce` whether its key lets cells share upstream
    calls: as it was at admission, no part of what was asked.

    A task that a client of AsyncQueue sent has the `queue` it named, one of cloro's its
    `task_type`; both are of one cell.
    """

    query: str
    surfaces: tuple[str, ...]
    regions: tuple[Region, ...]
    priority: int = 5
    max_attempts: int | None = None
    delay: float = NO_DELAY
    deadline: float | None = None
    finish: int | None = None
    group: str | None = None
    max_credits: int | None = None
    options: dict[str, dict[str, Any]] = {}
    metadata: dict[str, str] = {}
    webhook: Webhook | None = None
    costs: dict[str, int] = {}
    coalesce: bool = True
    queue: str | None = None
    task_type: TaskType | None = None

    @property
    def total(self) -> int:
        """How many cells."""
        return len(self.surfaces) * len(self.regions)

    @property
    def estimate(self) -> int:
        """The credits it costs when every cell shows something."""
        return sum(self.costs.get(name, 0) for name in self.surfaces) * len(self.regions)

    def cost(self, ordinals: Iterable[int]) -> int:
        """The credits these cells cost when each shows something."""
        if not self.costs:
            return 0
        return sum(self.costs.get(self.cell(ordinal).surface, 0) for ordinal in ordinals)

    def cells(self) -> Iterator[Cell]:
        """All cells, surface-major in request order."""
        named = list(zip(self.regions, tokens(self.regions), strict=True))
        ordinal = 0
        for surface in self.surfaces:
            for region, token in named:
                ordinal += 1
                yield Cell(ordinal, surface, region, token)

    def cell(self, ordinal: int) -> Cell:
        """The cell with this ordinal (from 1)."""
        surface, place = divmod(ordinal - 1, len(self.regions))
        return Cell(
            ordinal, self.surfaces[surface], self.regions[place], tokens(self.regions)[place]
        )

    def find(self, surface: str, token: str) -> Cell | None:
        """The cell a child id names, or None."""
        names = tokens(self.regions)
        if surface not in self.surfaces or token not in names:
            return None
        place = names.index(token)
        ordinal = self.surfaces.index(surface) * len(self.regions) + place + 1
        return Cell(ordinal, surface, self.regions[place], token)


def encode(plan: Plan) -> str:
    """The JSON stored with the parent."""
    return msgspec.json.encode(plan).decode()


def fingerprint(plan: Plan) -> bytes:
    """A digest that is the same when the same was asked for, and for nothing else."""
    asked = plan
    if plan.costs or not plan.coalesce:
        asked = msgspec.structs.replace(plan, costs={}, coalesce=True)
    if plan.webhook is not None:
        asked = msgspec.structs.replace(asked, webhook=webhooks.compared(plan.webhook))
    return hashlib.sha256(_canonical.encode(asked)).digest()


_canonical = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Plan)


def decode(payload: str | bytes) -> Plan:
    """The plan stored with a parent."""
    return _decoder.decode(payload)
