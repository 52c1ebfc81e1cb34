"""Parents: coming into the queue, and being read."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import kwargs_row

from orchestrator import notify
from orchestrator.domain import plan as plans
from orchestrator.domain import webhooks
from orchestrator.domain.plan import Plan
from orchestrator.domain.rows import ParentRow
from orchestrator.domain.states import ParentState
from orchestrator.store import plans as probing


class Caller(NamedTuple):
    """Somebody who waits for the end of a parent, and the API process that holds them."""

    id: int
    node: int


class NewParent(NamedTuple):
    """A parent about to be admitted; `lanes` has the lane id of each cell in ordinal order.

    With a caller it is sync: it never enters the queue. `fingerprint` goes with an idempotency key.
    """

    id: UUID
    key_id: int
    plan: Plan
    lanes: Sequence[int]
    idempotency_key: str | None = None
    fingerprint: bytes | None = None
    caller: Caller | None = None
    group_id: int | None = None


# One statement: the parents' trigger fires first and locks the keys' usage rows, as everywhere.
INSERT = """
WITH made AS (
  INSERT INTO parent (id, key_id, state, mode, started_at, priority, lanes, total, payload,
                      idempotency_key, fingerprint, group_id, finish, estimated, not_before,
                      deadline_at, endpoint, tells, queue)
  SELECT id, key_id,
         CASE WHEN sync THEN 'processing' WHEN delay > 0 THEN 'delayed' ELSE 'queued' END,
         CASE WHEN sync THEN 'sync' ELSE 'async' END, CASE WHEN sync THEN now() END, priority,
         lanes::int[], cardinality(lanes::int[]), payload, idempotency_key, fingerprint, group_id,
         finish, estimated, CASE WHEN delay > 0 THEN now() + delay * interval '1 second' END,
         now() + deadline * interval '1 second', endpoint, tells, queue
  FROM unnest(%(ids)b::uuid[], %(keys)b::int[], %(syncs)b::bool[], %(priorities)b::int2[],
              %(lanes)b::text[], %(payloads)b::json[], %(names)b::text[], %(prints)b::bytea[],
              %(groups)b::int[], %(finishes)b::int[], %(estimates)b::int[], %(delays)b::float8[],
              %(deadlines)b::float8[], %(endpoints)b::int8[], %(tells)b::int2[],
              %(queues)b::text[])
       AS new (id, key_id, sync, priority, lanes, payload, idempotency_key, fingerprint, group_id,
               finish, estimated, delay, deadline, endpoint, tells, queue)
  RETURNING id, key_id, mode, lanes, priority, group_id
)
INSERT INTO child (parent_id, ordinal, key_id, lane_id, priority, group_id)
SELECT m.id, cell.ordinal, m.key_id, cell.lane, m.priority + 100, m.group_id
FROM made m, unnest(m.lanes) WITH ORDINALITY AS cell (lane, ordinal)
WHERE m.mode = 'sync'
"""


async def insert(connection: AsyncConnection, parents: Sequence[NewParent]) -> None:
    """Put parents into the queue of their keys, or straight to work those somebody waits for.

    The caller holds the usage locks of these keys.
    """
    sync = [parent for parent in parents if parent.caller]
    columns = {
        "ids": [parent.id for parent in parents],
        "keys": [parent.key_id for parent in parents],
        "syncs": [parent.caller is not None for parent in parents],
        "priorities": [parent.plan.priority for parent in parents],
        "lanes": ["{" + ",".join(map(str, parent.lanes)) + "}" for parent in parents],
        "payloads": [plans.encode(parent.plan) for parent in parents],
        "names": [parent.idempotency_key for parent in parents],
        "prints": [parent.fingerprint for parent in parents],
        "groups": [parent.group_id for parent in parents],
        "finishes": [parent.plan.finish for parent in parents],
        "estimates": [parent.plan.estimate for parent in parents],
        "delays": [float(parent.plan.delay) for parent in parents],
        "deadlines": [_seconds(parent.plan.deadline) for parent in parents],
        "endpoints": list(map(_endpoint, parents)),
        "tells": [webhooks.tells(parent.plan.webhook) for parent in parents],
        "queues": [parent.plan.queue for parent in parents],
    }
    await connection.execute(INSERT, columns)
    if sync:
        await attend(connection, [(parent, parent.id) for parent in sync])
        await connection.execute(notify.NOTIFY, {"channel": notify.QUEUED})
    if len(sync) < len(parents):
        await connection.execute(notify.NOTIFY, {"channel": notify.ADMITTED})


def _seconds(given: float | None) -> float | None:
    return None if given is None else float(given)  # an array takes numbers of one kind


def _endpoint(parent: NewParent) -> int | None:
    webhook = parent.plan.webhook
    return webhooks.endpoint(parent.key_id, webhook.url) if webhook else None


ATTEND = """
INSERT INTO sync_wait (id, key_id, parent_id, node)
SELECT * FROM unnest(%(ids)s::int8[], %(keys)s::int[], %(parents)s::uuid[], %(nodes)s::int[])
"""


async def attend(connection: AsyncConnection, waiting: Sequence[tuple[NewParent, UUID]]) -> None:
    """Have the callers of these submissions wait for these parents, in places of the sync budget.

    The caller holds the usage locks of these keys.
    """
    callers = [(asked.caller, asked.key_id, parent) for asked, parent in waiting if asked.caller]
    await connection.execute(
        ATTEND,
        {
            "ids": [caller.id for caller, _, _ in callers],
            "keys": [key for _, key, _ in callers],
            "parents": [parent for _, _, parent in callers],
            "nodes": [caller.node for caller, _, _ in callers],
        },
    )


class Earlier(NamedTuple):
    """The parent an idempotency key stands for, as its first submission made it."""

    id: UUID
    state: ParentState
    fingerprint: bytes


EARLIER = """
SELECT asked.n, p.id, p.state, p.fingerprint
FROM unnest(%(keys)s::int[], %(names)s::text[]) WITH ORDINALITY AS asked (key_id, name, n)
JOIN parent p ON p.key_id = asked.key_id AND p.idempotency_key = asked.name
             AND p.idempotency_key IS NOT NULL
"""


async def earlier(
    connection: AsyncConnection, names: Sequence[tuple[int, str]]
) -> list[Earlier | None]:
    """The parent of each of these (key id, idempotency key), where there is one."""
    await connection.execute(probing.PROBE)
    cursor = await connection.execute(
        EARLIER, {"keys": [key for key, _ in names], "names": [name for _, name in names]}
    )
    found = {
        n: Earlier(parent, ParentState(state), fingerprint)
        async for n, parent, state, fingerprint in cursor
    }
    return [found.get(n) for n in range(1, len(names) + 1)]


READ = """
SELECT id, key_id, state, priority, total, done, failed, canceled, expired, run,
       payload::text AS payload, created_at, started_at, finished_at, lanes, todo, stop,
       not_before, deadline_at, cancel_requested_at, estimated, charged, idempotency_key
FROM parent
WHERE id = %(parent)s AND key_id = %(key)s
"""


def row(*, state: str, payload: str, **columns: Any) -> ParentRow:
    """A parent from the columns of `READ`."""
    return ParentRow(state=ParentState(state), plan=plans.decode(payload), **columns)


async def read(connection: AsyncConnection, *, key_id: int, parent: UUID) -> ParentRow | None:
    """A parent of this key, or None: unknown and somebody else's look alike."""
    cursor = connection.cursor(row_factory=kwargs_row(row))
    return await (await cursor.execute(READ, {"parent": parent, "key": key_id})).fetchone()


MANY = """
SELECT p.*
FROM unnest(%(parents)s::uuid[]) AS asked (id)
CROSS JOIN LATERAL (
  SELECT id, key_id, state, priority, total, done, failed, canceled, expired, run,
         payload::text AS payload, created_at, started_at, finished_at, lanes, todo, stop,
         not_before, deadline_at, cancel_requested_at, estimated, charged, idempotency_key
  FROM parent
  WHERE id = asked.id
  LIMIT 1) AS p
"""


async def many(connection: AsyncConnection, parents: Iterable[UUID]) -> dict[UUID, ParentRow]:
    """These parents, of whatever keys, as far as they are there."""
    cursor = connection.cursor(row_factory=kwargs_row(row))
    await cursor.execute(MANY, {"parents": list(parents)})
    return {parent.id: parent async for parent in cursor}


PLAN = """
SELECT payload::text FROM parent WHERE id = %(parent)s AND key_id = %(key)s
"""


async def plan_of(connection: AsyncConnection, *, key_id: int, parent: UUID) -> Plan | None:
    """What was asked for in a parent of this key, or None."""
    row = await (await connection.execute(PLAN, {"parent": parent, "key": key_id})).fetchone()
    return plans.decode(row[0]) if row else None


# LIMIT keeps each a probe of the primary key, whatever the planner makes of so many.
PLANS = """
SELECT p.id, p.payload
FROM unnest(%(parents)s::uuid[]) AS asked (id)
CROSS JOIN LATERAL (SELECT id, payload::text FROM parent WHERE id = asked.id LIMIT 1) AS p
"""


async def plans_of(connection: AsyncConnection, parents: Iterable[UUID]) -> dict[UUID, Plan]:
    """What was asked for in each of these parents."""
    cursor = await connection.execute(PLANS, {"parents": list(parents)})
    return {parent: plans.decode(payload) async for parent, payload in cursor}
