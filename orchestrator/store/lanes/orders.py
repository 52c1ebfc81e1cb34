"""What operators have a lane do. It is stored: it holds for all workers, and survives restarts."""

from typing import LiteralString

from psycopg import AsyncConnection

from orchestrator import notify
from orchestrator.domain.rows import LaneRow
from orchestrator.store.children.claim import LOCK_ID
from orchestrator.store.lanes.places import Place
from orchestrator.store.lanes.read import one

PAUSE = """
UPDATE lane SET paused_at = coalesce(paused_at, now())
WHERE (surface, country) = (%(surface)s, %(country)s)
RETURNING id
"""

RESUME = """
UPDATE lane SET paused_at = NULL, not_before = NULL, failures = 0, open_until = NULL
WHERE (surface, country) = (%(surface)s, %(country)s)
RETURNING id
"""


async def pause(connection: AsyncConnection, place: Place, *, paused: bool) -> LaneRow | None:
    """Have nothing start in a lane, or have it start again; the lane after, None if there is none.

    Who has it start again says that it works: its breaker closes too, and what its upstream said
    about when to come again is forgotten.
    """
    return await _operated(connection, PAUSE if paused else RESUME, place, limited=None)


LIMIT = """
UPDATE lane SET limited = %(limited)s::int
WHERE (surface, country) = (%(surface)s, %(country)s)
RETURNING id
"""


async def limit(connection: AsyncConnection, place: Place, limited: int | None) -> LaneRow | None:
    """Let at most so many of a lane run at once, None: as many as configured; the lane after."""
    return await _operated(connection, LIMIT, place, limited=limited)


LOCK = """
SELECT pg_advisory_xact_lock(%(lock)s)
"""


async def _operated(
    connection: AsyncConnection, statement: LiteralString, place: Place, *, limited: int | None
) -> LaneRow | None:
    """The lane after the statement; what became free by it is looked for at once.

    No claim is under way meanwhile: once this is answered, none starts what it forbids.
    """
    await connection.execute(LOCK, {"lock": LOCK_ID})
    cursor = await connection.execute(statement, {**place._asdict(), "limited": limited})
    changed = await cursor.fetchone()
    if changed is None:
        return None
    for channel in (notify.ADMITTED, notify.QUEUED):
        await connection.execute(notify.NOTIFY, {"channel": channel})
    return await one(connection, changed[0])
