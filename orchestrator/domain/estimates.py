"""When work will start and be done, told from how it goes: pure, so a test can show any pace.

An estimate is seconds from now; None is an honest "not known".
"""

import math
from typing import NamedTuple

from orchestrator.domain.preflight import Jobs

DECAY_SECONDS = 30.0
"""Each cell that ended weighs e^(-age / 30 s): the pace of the last half minute or so."""
SHORTEST_SECONDS = 0.1
"""No pace is believed over less."""
LIVE_SECONDS = 30.0
"""How long the pace of a key that has nothing left to do is still its pace."""
NOTHING = 1e-9


class Going(NamedTuple):
    """How the work of a key goes, as of `now` (epoch seconds).

    `ready` parents may leave its queue and do so at `drain_per_second`. `cells` have not ended, of
    them `sync_cells` of sync parents, which are served first; `in_flight` of the others have left
    the queue, of at most `window` before the next parent does. `ended` is the decayed count of
    cells that ended, as of `ended_at`, counted since `ended_from`.
    """

    ready: int
    drain_per_second: float
    cells: int
    sync_cells: int
    in_flight: int
    window: int
    ended: float
    ended_at: float
    ended_from: float
    now: float


def cells_per_second(going: Going) -> float | None:
    """How many cells end in a second; None before the first, and a while after the last.

    At a steady pace r the decayed count is 30 r (1 - e^(-t / 30)) after t seconds.
    """
    if going.ended <= NOTHING:
        return None
    idle = going.cells == 0
    if idle and going.now - going.ended_at > LIVE_SECONDS:
        return None
    at = going.ended_at if idle else max(going.now, going.ended_at)
    counted = max(SHORTEST_SECONDS, at - going.ended_from)
    count = going.ended * _left(at - going.ended_at)
    return count / (DECAY_SECONDS * (1 - _left(counted))) or None


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
