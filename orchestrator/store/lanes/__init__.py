"""Lanes: (surface, country), with a small id that is used everywhere.

`lanes.ensure(…)`, `lanes.configure(…)`, `lanes.all_lanes(…)`, `lanes.pause(…)`; the caller owns the
transaction. Whoever locks several lanes locks them by id, before `usage`.
"""

from orchestrator.domain.rows import LaneRow
from orchestrator.store.lanes.orders import limit, pause
from orchestrator.store.lanes.places import Place, configure, ensure, find, hold
from orchestrator.store.lanes.read import all_lanes, asked, by_surface, cut_off, of

__all__ = [
    "LaneRow",
    "Place",
    "all_lanes",
    "asked",
    "by_surface",
    "configure",
    "cut_off",
    "ensure",
    "find",
    "hold",
    "limit",
    "of",
    "pause",
]
