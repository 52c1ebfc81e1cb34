"""Rodin's one document: how many serve a surface, and what waits and runs there."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from orchestrator.domain import queues


class Load(NamedTuple):
    """Cells of a surface that have not ended: those that wait, in whatever state, and that run."""

    waiting: int
    running: int


class RodinQueue(msgspec.Struct, frozen=True, kw_only=True):
    """`consumers` are live worker processes that serve the surface."""

    consumers: int
    job_awaiting: int
    job_running: int


class Named(Protocol):
    """A surface, as far as it matters here."""

    @property
    def name(self) -> str:
        """Its own name."""

    @property
    def rodin_name(self) -> str | None:
        """What Rodin's clients call it, if that is something else."""


NOTHING = Load(0, 0)


def status(
    surfaces: Iterable[Named], workers: Mapping[str, int], load: Mapping[str, Load]
) -> dict[str, RodinQueue]:
    """An entry for each configured surface; queues of tasks are none."""
    return {
        surface.rodin_name or surface.name: RodinQueue(
            consumers=workers.get(surface.name, 0),
            job_awaiting=load.get(surface.name, NOTHING).waiting,
            job_running=load.get(surface.name, NOTHING).running,
        )
        for surface in surfaces
        if not queues.is_queue(surface.name)
    }
