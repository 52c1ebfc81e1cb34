"""Parents: coming into the queue, and being read."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import kwargs_row

from orchestrator import notify
from orchestrator.domain import plan as plans
from orchestrator.domain.plan import Plan
from orchestrator.domain.rows import ParentRow
from orchestrator.domain.states import ParentState


class NewParent(NamedTuple):
    """A parent about to be admitted; `lanes` has the lane id of each cell in ordinal order."""

    id: UUID
    key_id: int
    plan: Plan
    lanes: Sequence[int]


INSERT = """
INSERT INTO parent (id, key_id, priority, lanes, total, payload)
SELECT id, key_id, priority, lanes::int[], cardinality(lanes::int[]), payload
FROM unnest(%(ids)b::uuid[], %(keys)b::int[], %(priorities)b::int2[], %(lanes)b::text[],
            %(payloads)b::json[]) AS new (id, key_id, priority, lanes, payload)
"""


async def insert(connection: AsyncConnection, parents: Sequence[NewParent]) -> None:
    """Put parents into the queue of their keys. The caller holds the usage locks of these keys."""
    await connection.execute(
        INSERT,
        {
            "ids": [parent.id for parent in parents],
            "keys": [parent.key_id for parent in parents],
            "priorities": [parent.plan.priority for parent in parents],
            "lanes": ["{" + ",".join(map(str, parent.lanes)) + "}" for parent in parents],
            "payloads": [plans.encode(parent.plan) for parent in parents],
        },
    )
    await connection.execute(notify.NOTIFY, {"channel": notify.ADMITTED})


READ = """
SELECT id, key_id, state, priority, total, done, failed, canceled, expired, run,
       payload::text AS payload, created_at, started_at, finished_at
FROM parent
WHERE id = %(parent)s AND key_id = %(key)s
"""


def _row(*, state: str, payload: str, **columns: Any) -> ParentRow:
    return ParentRow(state=ParentState(state), plan=plans.decode(payload), **columns)


async def read(connection: AsyncConnection, *, key_id: int, parent: UUID) -> ParentRow | None:
    """A parent of this key, or None: unknown and somebody else's look alike."""
    cursor = connection.cursor(row_factory=kwargs_row(_row))
    return await (await cursor.execute(READ, {"parent": parent, "key": key_id})).fetchone()


PLANS = """
SELECT id, payload::text FROM parent WHERE id = ANY(%(parents)s)
"""


async def plans_of(connection: AsyncConnection, parents: Iterable[UUID]) -> dict[UUID, Plan]:
    """What was asked for in each of these parents."""
    cursor = await connection.execute(PLANS, {"parents": list(parents)})
    return {parent: plans.decode(payload) async for parent, payload in cursor}
