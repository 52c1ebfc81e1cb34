"""Parents put straight into the queue, as the API would, and waiting for their end."""

import asyncio
import time
from typing import NamedTuple

import psycopg

from admission import keys
from admission.keys import Issued
from admission.limits import Limits
from orchestrator.domain import ids
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region
from orchestrator.store import groups, lanes, parents
from orchestrator.store.lanes import Place
from orchestrator.store.parents import Caller, NewParent
from orchestrator.surfaces import RegionLimits

AT_ONCE = 500
NOBODY = 0
"""The node of callers whose places nobody takes away."""


class Work(NamedTuple):
    """Parents of one key, each of all surfaces × countries."""

    parents: int
    surfaces: tuple[str, ...]
    countries: tuple[str, ...]

    @property
    def cells(self) -> int:
        """Children of all of them."""
        return self.parents * len(self.surfaces) * len(self.countries)


def seed(
    url: str,
    name: str,
    work: Work,
    *,
    limits: Limits,
    lane: int,
    priority: int = 5,
    group: str | None = None,
) -> Issued:
    """A new key with this work in its queue; `lane` is the concurrency of new lanes."""

    async def make() -> Issued:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            issued = await keys.create(connection, name, limits=limits)
            await _insert(connection, issued, work, lane=lane, priority=priority, group=group)
            return issued

    return asyncio.run(make())


def more(url: str, issued: Issued, work: Work, *, priority: int, lane: int = 0) -> None:
    """More work for a key; `lane` is the concurrency of new lanes."""

    async def insert() -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await _insert(connection, issued, work, lane=lane, priority=priority, group=None)

    asyncio.run(insert())


async def _insert(
    connection: psycopg.AsyncConnection,
    issued: Issued,
    work: Work,
    *,
    lane: int,
    priority: int,
    group: str | None,
) -> None:
    plan = Plan(
        query="best running shoes 2026",
        surfaces=work.surfaces,
        regions=tuple(map(Region, work.countries)),
        priority=priority,
        group=group,
    )
    places = [Place(cell.surface, cell.region.country) for cell in plan.cells()]
    known = await lanes.ensure(connection, dict.fromkeys(places, RegionLimits(concurrency=lane)))
    cells = [known[place] for place in places]
    named = (issued.key.id, group or "")
    group_id = (await groups.ensure(connection, [named]))[named] if group else None
    for start in range(0, work.parents, AT_ONCE):
        batch = range(start, min(work.parents, start + AT_ONCE))
        new = [NewParent(ids.new(), issued.key.id, plan, cells, group_id=group_id) for _ in batch]
        async with connection.transaction():
            await parents.insert(connection, new)


def hold(url: str, issued: Issued, surface: str, callers: int) -> None:
    """This many callers of the key who wait, as those of some API process would."""

    async def insert() -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            place = Place(surface, "US")
            lane = (await lanes.ensure(connection, {place: RegionLimits(concurrency=1)}))[place]
            plan = Plan(query="shoes", surfaces=(surface,), regions=(Region("US"),))
            new = [
                NewParent(ids.new(), issued.key.id, plan, [lane], caller=Caller(n, NOBODY))
                for n in range(issued.key.id * callers, (issued.key.id + 1) * callers)
            ]
            async with connection.transaction():
                await parents.insert(connection, new)

    asyncio.run(insert())


ENDED = """
SELECT count(*) FILTER (WHERE state = 'completed'), count(*) FILTER (WHERE finished_at IS NULL),
       extract(epoch FROM max(finished_at) - min(started_at))::float8
FROM parent
"""

RECORDED = """
SELECT count(*) FROM child WHERE state = 'completed' AND length(result::text) > 500
"""


def span(url: str, work: Work, *, seconds: float) -> float:
    """Seconds from the first fan-out to the last end, all recorded, by the database's clock."""
    deadline = time.monotonic() + seconds
    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            completed, live, took = connection.execute(ENDED).fetchone() or (0, 1, 0.0)
            if not live:
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"{live} parents have not ended in {seconds} s")
            connection.execute("SELECT pg_sleep(0.2)")
        recorded = connection.execute(RECORDED).fetchone()
    assert completed == work.parents, completed
    assert recorded == (work.cells,), recorded
    return float(took)
