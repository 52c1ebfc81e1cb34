"""What is asked of a whole group: stored at once, carried out in batches by whoever has time."""

from collections.abc import Sequence
from typing import Literal, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

from orchestrator import notify
from orchestrator.store import plans

FIRST = UUID(int=0)
"""Before every parent."""

MATCHED = {
    "cancel": """
SELECT coalesce(sum(n), 0)::int FROM group_usage
WHERE group_id = %(group)s AND what IN ('parents.queued', 'parents.processing')
""",
    "retry": """
SELECT count(*)::int FROM parent
WHERE group_id = %(group)s AND state IN ('partial', 'failed', 'canceled', 'expired')
  AND ((failed > 0 AND 'failed' = ANY(%(statuses)s))
       OR (canceled > 0 AND 'canceled' = ANY(%(statuses)s))
       OR (expired > 0 AND 'expired' = ANY(%(statuses)s)))
""",
}

# In the hands of a steward it is waited for: its batch ends first.
CALL_OFF = """
UPDATE group_action SET finished_at = now()
WHERE id = ANY(ARRAY(
  SELECT id FROM group_action
  WHERE group_id = %(group)s AND kind = 'retry' AND finished_at IS NULL
  ORDER BY id
  FOR UPDATE))
"""

REQUEST = """
INSERT INTO group_action (key_id, group_id, kind, statuses)
VALUES (%(key)s, %(group)s, %(kind)s, %(statuses)s)
"""


async def request(
    connection: AsyncConnection,
    *,
    key_id: int,
    group_id: int,
    kind: Literal["cancel", "retry"],
    statuses: Sequence[str] = (),
) -> int:
    """Have this done to every parent the group has now; how many parents it is for.

    A cancel calls off what is left of the group's retries. Inside a transaction; once that is
    committed it will be done, whatever dies.
    """
    named = {"key": key_id, "group": group_id, "kind": kind, "statuses": list(statuses)}
    if kind == "cancel":
        await connection.execute(plans.PROBE)
        await connection.execute(CALL_OFF, named)
    row = await (await connection.execute(MATCHED[kind], named)).fetchone()
    await connection.execute(REQUEST, named)
    await connection.execute(notify.NOTIFY, {"channel": notify.ACTED})
    return int(row[0]) if row else 0


class Action(NamedTuple):
    """A stored request, and how far it has come."""

    id: int
    key_id: int
    group_id: int
    kind: Literal["cancel", "retry"]
    statuses: list[str]
    working: bool
    reached: UUID | None


TAKE = """
SELECT id, key_id, group_id, kind, statuses, working, reached
FROM group_action
WHERE finished_at IS NULL AND retry_at <= now()
ORDER BY retry_at, id
LIMIT 1
FOR UPDATE SKIP LOCKED
"""


async def take(connection: AsyncConnection) -> Action | None:
    """The request that waits longest and is in nobody's hands, held by the transaction."""
    await connection.execute(plans.IN_ORDER)
    cursor = connection.cursor(row_factory=class_row(Action))
    return await (await cursor.execute(TAKE)).fetchone()


# BETWEEN, so that no other index than that of groups has the order.
LIVE = """
SELECT p.id FROM parent p
WHERE p.group_id BETWEEN %(group)s AND %(group)s AND (p.group_id, p.id) > (%(group)s, %(reached)s)
  AND p.finished_at IS NULL AND (p.state = 'processing') = %(working)s
  AND p.created_at <= (SELECT created_at FROM group_action WHERE id = %(id)s)
ORDER BY p.group_id, p.id
LIMIT %(most)s
FOR NO KEY UPDATE OF p
"""

ENDED = """
SELECT p.id FROM parent p
WHERE p.group_id BETWEEN %(group)s AND %(group)s AND (p.group_id, p.id) > (%(group)s, %(reached)s)
  AND p.state IN ('partial', 'failed', 'canceled', 'expired')
  AND p.finished_at <= (SELECT created_at FROM group_action WHERE id = %(id)s)
ORDER BY p.group_id, p.id
LIMIT %(most)s
FOR NO KEY UPDATE OF p
"""


async def batch(connection: AsyncConnection, action: Action, *, most: int) -> list[UUID]:
    """The next parents an action is for, in id order, locked."""
    named = {
        "id": action.id,
        "group": action.group_id,
        "working": action.working,
        "reached": action.reached or FIRST,
        "most": most,
    }
    await connection.execute(plans.IN_ORDER)
    cursor = await connection.execute(LIVE if action.kind == "cancel" else ENDED, named)
    return [parent async for (parent,) in cursor]


GO_ON = """
UPDATE group_action
SET reached = %(reached)s, working = %(working)s,
    retry_at = now() + %(pause)s * interval '1 second',
    finished_at = CASE WHEN %(finished)s THEN now() END
WHERE id = %(id)s
"""


async def go_on(
    connection: AsyncConnection,
    action: Action,
    *,
    reached: UUID | None,
    working: bool = False,
    pause_seconds: float = 0.0,
    finished: bool = False,
) -> None:
    """Remember how far an action has come; the next batch is due after the pause."""
    named = {
        "id": action.id,
        "reached": reached,
        "working": working,
        "pause": pause_seconds,
        "finished": finished,
    }
    await connection.execute(GO_ON, named)
