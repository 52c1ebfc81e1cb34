"""Room in lanes and keys: which parents may leave their queues, which children may start."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from admission.limits import Limits
from orchestrator.domain.states import ChildState
from tests.stateful.lanes import Lane
from tests.stateful.records import ChildRow
from tests.stateful.rows import Rows

WAITING = ChildState.QUEUED, ChildState.RETRYING
RUNNING = ChildState.PROCESSING
IDLE_PAST, AGED_PAST = 1, 3
"""So many more windows there are for an idle key's first parent, and for one long passed over."""


class Room(NamedTuple):
    """How many more children a lane has room for; and how many more than that make a window."""

    free: int
    extra: int

    def open(self, past: int = 0) -> bool:
        return self.free + past * self.extra > 0


def rooms(rows: Rows) -> dict[int, Room]:
    """Nothing leaves for a lane that is shut; for a probe, if nothing of it is in the lane."""
    waiting, running = rows.by_lane(*WAITING), rows.by_lane(RUNNING)
    found = {}
    for n, lane in rows.lanes.items():
        if lane.shut:
            probes = 0 if lane.barred else min(1, lane.learned.allowed) - waiting[n] - running[n]
            found[n] = Room(probes, 0)
        else:
            found[n] = Room(lane.window - waiting[n], lane.window)
    return found


def may_leave(rows: Rows, key: int, limits: Limits, *, aged: bool) -> bool:
    """Whether some parent of this key has room to leave its queue for.

    An idle key, or one with nothing but what stays in lanes that are still, may fill a lane past
    its window, so that its first parent ever leaves; and who was passed over for long (`aged`: all
    were) further still. What was waited for from the first never
    was in a queue: it fills lanes, but no key.
    """
    in_flight, there, most = _in_flight(rows)[key], rooms(rows), 2 * limits.concurrency
    if in_flight - _stuck(rows)[key] >= most:
        return False
    looked_at = any(room.open() for room in there.values()) or (aged and in_flight < most)
    if in_flight and not looked_at:
        return False
    past = max(0 if _load(rows)[key] else IDLE_PAST, AGED_PAST if aged else 0)
    return any(all(there[lane].open(past) for lane in one.ahead) for one in rows.queue(key))


def within_windows(
    before: Rows, left: Sequence[UUID], limits: Mapping[int, Limits], *, aged: bool, both: bool
) -> None:
    """These left: no more than lanes and keys had room for, but for the last of each.

    In two rounds (`both`) what left first for a lane that is slow took no room of its key.
    """
    there, in_flight, stuck = rooms(before), _in_flight(before), _stuck(before)
    load = _load(before)
    came = Counter(lane for one in left for lane in before.parents[one].ahead)
    slow = {lane for lane in there if both and _slow(before, lane, came[lane])}
    for key, most in limits.items():
        own = [before.parents[one] for one in left if before.parents[one].key == key]
        cells = sum(lane not in slow for parent in own for lane in parent.ahead)
        room = 2 * most.concurrency - (in_flight[key] - stuck[key])
        assert not own or cells - max(len(parent.ahead) for parent in own) < room
        past = [one for one in own if not all(there[lane].open() for lane in one.ahead)]
        assert len(past) <= (load[key] == 0) + aged
    for lane, room in there.items():
        cells = [before.parents[one].ahead.count(lane) for one in left]
        idle = any(load[before.parents[one].key] == 0 for one in left)
        past = AGED_PAST if aged else IDLE_PAST * idle
        most = room.free + past * room.extra
        assert sum(cells) == 0 or sum(cells) - max(cells) < most


def _in_flight(rows: Rows) -> Counter[int]:
    return rows.by_key(*WAITING, RUNNING, sync=False)


def _load(rows: Rows) -> Counter[int]:
    """What of that is not in lanes that are still."""
    return _in_flight(rows) - _ready(rows, {lane for lane in rows.lanes if _still(rows, lane)})


def _stuck(rows: Rows) -> Counter[int]:
    """What of that is ready in lanes that start it late or never."""
    return _ready(rows, {lane for lane in rows.lanes if _slow(rows, lane)})


def _ready(rows: Rows, lanes: set[int]) -> Counter[int]:
    return Counter(
        child.key
        for child in rows.children.values()
        if child.state is ChildState.QUEUED and not child.sync and child.lane in lanes
    )


def _slow(rows: Rows, n: int, more: int = 0) -> bool:
    """Whether what is ready in a lane, with so many more, is no part of its key's window."""
    return rows.lanes[n].rate is not None or _still(rows, n, more)


def _still(rows: Rows, n: int, more: int = 0) -> bool:
    """Whether it is shut, served by nobody, or was cut down far below what is ready in it."""
    lane = rows.lanes[n]
    ready, most = rows.by_lane(*WAITING)[n] + more, (1 + AGED_PAST) * lane.window
    cut_down = lane.learned.allowed < lane.learned.concurrency and ready > most
    return lane.still or cut_down or lane.surface not in rows.served


def may_start(
    rows: Rows, limits: Mapping[int, Limits], lanes: Mapping[int, Lane], clock: float
) -> list[ChildRow]:
    """Queued children with room in their lane (`lanes` has those served) and their key."""
    in_lane, async_in_lane = rows.by_lane(RUNNING), rows.by_lane(RUNNING, sync=False)
    of_key, async_of_key = rows.by_key(RUNNING), rows.by_key(RUNNING, sync=False)

    def may(child: ChildRow) -> bool:
        lane, own = lanes.get(child.lane), limits[child.key]
        if lane is None or in_lane[child.lane] >= lane.most or lane.tokens(clock) < 1:
            return False
        if of_key[child.key] >= own.concurrency + own.sync_limit:
            return False
        return child.sync or (
            async_in_lane[child.lane] < lane.most_async
            and async_of_key[child.key] < own.concurrency
        )

    return [
        child for child in rows.children.values() if child.state is ChildState.QUEUED and may(child)
    ]
