"""When work will start and be done, told from how it goes: pure, so a test can show any pace.

An estimate is seconds from now; None is an honest "not known".
"""

import math
from typing import NamedTuple

from orchestrator.domain.preflight import Jobs

DECAY_SECONDS = 30.0
"""What happened weighs e^(-age / 30 s): the pace of the last half minute or so.

At a steady rate r the sum of the weights is 30 r (1 - e^(-t / 30 s)) after t seconds.
"""
SHORTEST_SECONDS = 0.1
"""No pace is believed over less."""
LIVE_SECONDS = 30.0
"""How long the pace of a key that has nothing left to do is still its pace."""
NOTHING = 1e-9
OLD = 1.25
"""Cells that run this many times as long as others took are not about to end as those did."""


class Going(NamedTuple):
    """How the work of a key goes, as of `now` (epoch seconds).

    `ready` parents may leave its queue and do so at `drain_per_second`. `cells` have not ended, of
    them `sync_cells` of sync parents, which are served first; `in_flight` of the others have left
    the queue, of at most `window` before the next parent does; `processing` run.

    Since `ended_from`, decayed: `ended` cells as of `ended_at`; as of `busy_at` the seconds that
    cells were running (`busy`), and that attempts took which are over (`spent`).
    """

    ready: int
    drain_per_second: float
    cells: int
    sync_cells: int
    in_flight: int
    window: int
    processing: int
    ended: float
    ended_at: float
    ended_from: float
    busy: float
    spent: float
    busy_at: float
    now: float


def cells_per_second(going: Going) -> float | None:
    """How many cells end in a second; None before the first, and a while after the last.

    Cells that start together end together, so a count of them jumps. What runs at once, over what
    a cell takes, does not. Only when those that run are older than what a cell took so far, as when
    an upstream hangs, the count tells more.
    """
    idle = going.cells == 0
    at = going.ended_at if idle else max(going.now, going.ended_at)
    ended = going.ended * _left(at - going.ended_at)
    if ended <= NOTHING or (idle and going.now - at > LIVE_SECONDS):
        return None
    counted = DECAY_SECONDS * (1 - _left(max(SHORTEST_SECONDS, at - going.ended_from)))
    kept = _left(max(0.0, at - going.busy_at))
    busy = going.busy * kept + going.processing * DECAY_SECONDS * (1 - kept)
    took = going.spent * kept / ended
    age = (busy - going.spent * kept) / going.processing if going.processing else 0.0
    if took <= 0 or age > OLD * took:
        return ended / counted
    return max(busy / counted, going.processing) / took


def _left(seconds: float) -> float:
    """What is left of a weight after so long."""
    return math.exp(-seconds / DECAY_SECONDS)


def start_seconds(going: Going, jobs: Jobs) -> float | None:
    """Until the first of the jobs would leave the queue; sync ones never enter it."""
    if going.ready and not jobs.sync:
        return going.ready / going.drain_per_second if going.drain_per_second > 0 else None
    if not jobs.served:
        return None
    beyond = going.in_flight - going.window + 1
    if jobs.sync or beyond <= 0:
        return 0.0
    pace = cells_per_second(going)
    return beyond / pace if pace else None


def finish_seconds(going: Going, jobs: Jobs) -> float | None:
    """Until all cells of the jobs have ended, at the pace cells end now.

    What the key has sent before goes first; before sync jobs, only other sync ones.
    """
    pace = cells_per_second(going)
    before = going.sync_cells if jobs.sync else going.cells
    return (before + jobs.n * jobs.cells) / pace if pace else None
