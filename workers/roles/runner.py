"""The runner claims children and has them captured, as many at once as it has slots."""

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from cachetools import LRUCache
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from orchestrator.domain import ids
from orchestrator.notify import POLL_SECONDS
from orchestrator.store import children, parents
from orchestrator.store.children import Claimed, Fence, GivenBack
from workers import execution
from workers.coalescing import Coalescer
from workers.execution import Alone, Served, Sheet
from workers.secrets import SecretsOf
from workers.settling import Settler
from workers.signals import Signal

LARGEST_CLAIM = 200
REMEMBERED_PARENTS = 2_000
GATHER_SECONDS = 0.005
"""How long a busy runner waits for more slots before it claims for the few it has."""
SHORTEST_SECONDS = 0.05
"""Rest at least this long after a claim that brought nothing: fast rates are served in handfuls."""
START_SECONDS = 0.15
"""A child of a lane with a rate starts within this of its claim, or another time.

The lane's bucket reckons with `orchestrator.domain.lanes.SPREAD_SECONDS` to the upstream.
"""


class Runner:
    """Fills its slots, a child in each. `tasks` runs the captures.

    `may_start` says whether this node is alive; `alone` captures what may kill it; `coalescer`
    shares calls among identical cells; `secrets_of` has what tasks are signed with; `clock` counts
    seconds.
    """

    name = "runner"

    def __init__(
        self,
        pool: AsyncConnectionPool,
        *,
        node: int,
        slots: int,
        surfaces: Mapping[str, Served],
        settler: Settler,
        tasks: asyncio.TaskGroup,
        may_start: Callable[[], bool],
        alone: Alone,
        secrets_of: SecretsOf,
        coalescer: Coalescer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wake = Signal()
        self._pool = pool
        self._node = node
        self._slots = slots
        self._surfaces = surfaces
        self._paced = {name for name, served in surfaces.items() if served.config.paced}
        self._settler = settler
        self._tasks = tasks
        self._may_start = may_start
        self._alone = alone
        self._secrets_of = secrets_of
        self._coalescer = coalescer
        self._clock = clock
        self._running: dict[Fence, asyncio.Task[None]] = {}
        self._more = False
        self._token: int | None = None
        self._sent = 0.0
        self._sheets: LRUCache[UUID, Sheet] = LRUCache(REMEMBERED_PARENTS)

    @property
    def running(self) -> int:
        """Children being captured now."""
        return len(self._running)

    async def step(self) -> float:
        """One claim for the slots that are free.

        It may bring fewer than there are, where many keys want a lane's last place and crowd out
        others for this once; each claim but the last brings some, so claim until one is empty.
        """
        if self._free < self._slots // 8 and self._more:
            await asyncio.sleep(GATHER_SECONDS)
        if not self._free or self._settler.full or not self._may_start():
            return POLL_SECONDS
        asked = min(self._free, LARGEST_CLAIM)
        claimed = await self._claim(asked)
        for child, sheet, secret in claimed:
            self._start(child, sheet, secret)
        self._more = bool(claimed)
        return 0.0 if self._more else await self._rest()

    def give_back(self) -> None:
        """Interrupt what is still running; it is queued again and the attempt not counted."""
        self.interrupt(list(self._running))

    def named(self, name: str) -> Fence | None:
        """The fence of the capture whose task has this name; to be asked from any thread."""
        running = list(self._running.items())
        return next((fence for fence, task in running if task.get_name() == name), None)

    def interrupt(self, fences: Sequence[Fence]) -> int:
        """End those of these captures that run here, each once; how many there were.

        Their children are given back: one that was told to stop ends so, another is queued again.
        """
        tasks = [task for fence in fences if (task := self._running.get(fence))]
        return sum(task.cancel() for task in tasks if not task.cancelling())

    @property
    def _free(self) -> int:
        return self._slots - len(self._running)

    async def _claim(self, slots: int) -> Sequence[tuple[Claimed, Sheet, str | None]]:
        """A claim. When the answer to the last was lost, what that took: nobody else runs it.

        With the secret of each that is a task, as it is now.
        """
        async with self._pool.connection() as connection:
            if self._token is None:
                self._token, self._sent = secrets.randbits(62), self._clock()
                claimed = await children.claim(
                    connection,
                    node=self._node,
                    token=self._token,
                    slots=slots,
                    surfaces=list(self._surfaces),
                )
            else:
                claimed = await children.claimed(connection, node=self._node, token=self._token)
            sheets = await self._read_sheets(connection, {child.parent_id for child in claimed})
            tasks = [parent for parent, sheet in sheets.items() if sheet.plan.queue is not None]
            signed = await self._secrets_of(connection, tasks) if tasks else {}
        self._token = None
        return [(child, sheets[child.parent_id], signed.get(child.parent_id)) for child in claimed]

    async def _rest(self) -> float:
        """Until a lane that only time holds up may start something; nobody tells of that."""
        async with self._pool.connection() as connection:
            seconds = await children.next_start(connection, list(self._surfaces))
        nearest = POLL_SECONDS if seconds is None else seconds
        return max(SHORTEST_SECONDS, min(POLL_SECONDS, nearest))

    async def _read_sheets(
        self, connection: AsyncConnection, wanted: set[UUID]
    ) -> dict[UUID, Sheet]:
        sheets = {parent: self._sheets[parent] for parent in wanted if parent in self._sheets}
        unknown = wanted - sheets.keys()
        if unknown:
            for parent, plan in (await parents.plans_of(connection, unknown)).items():
                sheets[parent] = execution.sheet(ids.text(parent), plan)
            self._remember(sheets)
        return sheets

    def _remember(self, sheets: Mapping[UUID, Sheet]) -> None:
        """Others of their cells come soon; a task has but one, and may be large."""
        several = {parent: sheet for parent, sheet in sheets.items() if sheet.plan.queue is None}
        self._sheets.update(several)

    def _start(self, child: Claimed, sheet: Sheet, secret: str | None) -> None:
        fence = Fence(child.parent_id, child.ordinal, child.claim)
        paced = sheet.cells[child.ordinal - 1].surface in self._paced
        latest = self._sent + child.waited + START_SECONDS if paced else math.inf
        name = execution.name(sheet, child.ordinal)
        task = self._tasks.create_task(self._capture(child, sheet, secret, latest), name=name)
        self._running[fence] = task
        task.add_done_callback(lambda task: self._finished(fence, task))

    def _finished(self, fence: Fence, task: asyncio.Task[None]) -> None:
        """Its slot is free. One that was interrupted has put no outcome, nor begun, perhaps."""
        del self._running[fence]
        if task.cancelled():
            self._settler.put(GivenBack(fence))
        if self._more:
            self.wake.set()

    async def _capture(
        self, child: Claimed, sheet: Sheet, secret: str | None, latest: float
    ) -> None:
        outcome = await execution.attempt(
            child,
            sheet,
            self._surfaces,
            self._alone,
            coalescer=self._coalescer,
            secret=secret,
            may_begin=lambda: self._clock() <= latest,
        )
        self._settler.put(outcome)
