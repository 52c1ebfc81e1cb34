"""Lists of parents, newest first, at a cost that does not depend on how many there are.

A request looks at `LOOK` parents at most, through an index that has them in order; when that does
not fill its page it says where to look on. Indexes alone give the order and the bounds, so the
planner is left no other way.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import kwargs_row

from orchestrator.domain.rows import ParentRow
from orchestrator.domain.states import ParentState
from orchestrator.store import parents, plans

LOOK = 10_000
"""Parents looked at for a page."""
STEP = 1_000
"""And at once: most pages are full after one step."""
SLACK = timedelta(hours=1)
"""How far the clock of a process, which is in the ids, may be from the database's."""
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00Z")
_FIRST, _LAST = UUID(int=0), UUID(int=(1 << 128) - 1)


class Wanted(NamedTuple):
    """Which parents of a key: those of which everything that is given is true.

    In one of these lanes; with all of this metadata; accepted at `since` or later, before `until`;
    with an id before `before`.
    """

    key_id: int
    states: Sequence[ParentState]
    group_id: int | None = None
    lanes: Sequence[int] | None = None
    metadata: dict[str, str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: UUID | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """What the statements are given."""
        latest = _id(self.until, SLACK) if self.until else _LAST
        return {
            **self._asdict(),
            "states": list(self.states),
            "lanes": None if self.lanes is None else list(self.lanes),
            "metadata": msgspec.json.encode(self.metadata).decode() if self.metadata else None,
            "first": _id(self.since, -SLACK) if self.since else _FIRST,
            "before": min(self.before or _LAST, latest),
        }


class Page(NamedTuple):
    """Some of the parents, each with how many of its children are running.

    `more_before`: look on before this id; None at the end. A page may be short, or empty, and not
    be the last.
    """

    parents: list[tuple[ParentRow, int]]
    more_before: UUID | None


# Of each state so many, which are put in order then. Bounds and order are those of whole entries
# of the index, so that no other index has them. The last looked at of a state comes too.
LIST = """
SELECT id, key_id, state, priority, total, done, failed, canceled, expired, run,
       payload::text AS payload, created_at, started_at, finished_at, lanes, todo, stop,
       not_before, deadline_at, cancel_requested_at, estimated, charged,
       fits, n = %(each)s AS last
FROM (
  SELECT looked.*,
         coalesce((%(lanes)s::int[] IS NULL OR lanes && %(lanes)s::int[])
              AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s::timestamptz)
              AND (%(until)s::timestamptz IS NULL OR created_at < %(until)s::timestamptz)
              AND (%(metadata)s::jsonb IS NULL
                   OR (payload->'metadata')::jsonb @> %(metadata)s::jsonb), false) AS fits
  FROM unnest(%(states)s::text[]) AS wanted
  CROSS JOIN LATERAL (
    SELECT *, row_number() OVER (ORDER BY state DESC, key_id DESC, id DESC) AS n
    FROM (
      SELECT * FROM parent
      WHERE (state, key_id, id) < (wanted, %(key_id)s::int, %(before)s::uuid)
        AND (state, key_id, id) >= (wanted, %(key_id)s::int, %(first)s::uuid)
      ORDER BY state DESC, key_id DESC, id DESC
      LIMIT %(each)s) AS ordered) AS looked) AS judged
WHERE fits OR n = %(each)s
ORDER BY id DESC
LIMIT %(most)s
"""

GROUPED = """
SELECT id, key_id, state, priority, total, done, failed, canceled, expired, run,
       payload::text AS payload, created_at, started_at, finished_at, lanes, todo, stop,
       not_before, deadline_at, cancel_requested_at, estimated, charged,
       fits, n = %(each)s AS last
FROM (
  SELECT *, row_number() OVER (ORDER BY group_id DESC, id DESC) AS n,
         coalesce(key_id = %(key_id)s AND state = ANY(%(states)s::text[])
              AND (%(lanes)s::int[] IS NULL OR lanes && %(lanes)s::int[])
              AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s::timestamptz)
              AND (%(until)s::timestamptz IS NULL OR created_at < %(until)s::timestamptz)
              AND (%(metadata)s::jsonb IS NULL
                   OR (payload->'metadata')::jsonb @> %(metadata)s::jsonb), false) AS fits
  FROM (
    SELECT * FROM parent
    WHERE (group_id, id) < (%(group_id)s::int, %(before)s::uuid)
      AND (group_id, id) >= (%(group_id)s::int, %(first)s::uuid)
      AND group_id IS NOT NULL
    ORDER BY group_id DESC, id DESC
    LIMIT %(each)s) AS ordered) AS looked
WHERE fits OR n = %(each)s
ORDER BY group_id DESC, id DESC
LIMIT %(most)s
"""

RUNNING = """
SELECT id, (SELECT count(*)::int FROM child
            WHERE parent_id = id AND lower(state) = 'processing')
FROM unnest(%(parents)s::uuid[]) AS id
"""


async def page(
    connection: AsyncConnection, wanted: Wanted, *, limit: int, look: int = LOOK, step: int = STEP
) -> Page:
    """At most `limit` of the parents, newest first, in a transaction of the caller's."""
    await connection.execute(plans.IN_ORDER)
    found: list[ParentRow] = []
    for _ in range(look // step):
        some, more = await _step(connection, wanted, limit - len(found), step)
        found += some
        wanted = wanted._replace(before=more)
        if more is None or len(found) == limit:
            break
    return Page(await _counted(connection, found), wanted.before)


async def _step(
    connection: AsyncConnection, wanted: Wanted, limit: int, step: int
) -> tuple[list[ParentRow], UUID | None]:
    """What is found among the next parents, and before which id there may be more.

    What lies beyond the last one looked at of any state is left to the next step: of that state
    there may be some before.
    """
    statement, each = (GROUPED, step)
    if wanted.group_id is None:
        statement, each = LIST, max(1, step // len(wanted.states))
    cursor = connection.cursor(row_factory=kwargs_row(_looked))
    await cursor.execute(statement, {**wanted.columns, "each": each, "most": limit + 2})
    found: list[ParentRow] = []
    for one in await cursor.fetchall():
        if one.fits and len(found) == limit:
            return found, found[-1].id
        if one.fits:
            found.append(one.parent)
        if one.last:
            return found, one.parent.id
    return found, None


class _Looked(NamedTuple):
    parent: ParentRow
    fits: bool
    last: bool


def _looked(*, fits: bool, last: bool, **columns: Any) -> _Looked:
    return _Looked(parents.row(**columns), fits, last)


async def _counted(
    connection: AsyncConnection, found: list[ParentRow]
) -> list[tuple[ParentRow, int]]:
    """With their running children, counted for those that may have any in one statement."""
    live = [parent.id for parent in found if parent.state is ParentState.PROCESSING]
    running: dict[UUID, int] = {}
    if live:
        cursor = await connection.execute(RUNNING, {"parents": live})
        running = {parent: n async for parent, n in cursor}
    return [(parent, running.get(parent.id, 0)) for parent in found]


def _id(moment: datetime, later: timedelta) -> UUID:
    """The least id made so much later than this moment, or after."""
    milliseconds = (moment - _EPOCH + later) // timedelta(milliseconds=1)
    return UUID(int=min(max(milliseconds, 0), (1 << 48) - 1) << 80)
