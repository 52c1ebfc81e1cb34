"""The usage row of a key: its lock is what makes admission exact."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from admission.budget import UNBOUND, Budget, quotas
from admission.durability import UNFLUSHED
from admission.policy import Usage
from admission.refusals import Taken

BUDGET = """credits, quota_daily, quota_monthly,
       CASE WHEN used_on >= today THEN used_day ELSE 0 END AS used_day,
       CASE WHEN date_trunc('month', used_on) >= date_trunc('month', today)
            THEN used_month ELSE 0 END AS used_month"""
"""What `budget` reads, of a row with `today` beside it."""

LOCK = f"""
SELECT key_id, depth AS waiting, capacity, detached, sync_limit, promised, sync_promised,
       clock AS now,
       drain_rate(drained, drained_at, drained_from, clock) AS drain_per_second,
       {BUDGET}
FROM usage,
     (SELECT extract(epoch FROM now)::float8 AS clock, (now AT TIME ZONE 'UTC')::date AS today
      FROM clock_timestamp() AS now) AS at
WHERE key_id = ANY(%(keys)s)
ORDER BY key_id
FOR NO KEY UPDATE OF usage
"""  # noqa: S608 - of this file

# Under the lock, in a statement of its own: a caller admitted and a reservation made while the lock
# was waited for are seen by a new snapshot only. A reservation's end is held against the clock as
# it is under the lock, too: by that of an earlier start it would live on after its places went to
# somebody else.
BESIDES = """
SELECT k.key_id,
       (SELECT count(*)::int FROM sync_wait w WHERE w.key_id = k.key_id) AS callers,
       (SELECT json_object_agg(r.id, r.places) FROM reservation r
        WHERE r.key_id = k.key_id AND r.places > 0 AND r.expires_at > clock_timestamp())
         AS reservations
FROM unnest(%(keys)s::int[]) AS k (key_id)
"""


async def lock(connection: AsyncConnection, keys: Iterable[int]) -> dict[int, Usage]:
    """Lock the rows of these keys in key order until the transaction ends, and read them."""
    wanted = {"keys": sorted(set(keys))}
    rows = await connection.cursor(row_factory=dict_row).execute(LOCK, wanted)
    taken_besides = await connection.execute(BESIDES, wanted)
    usages = {row.pop("key_id"): _usage(row) async for row in rows}
    async for key, callers, reservations in taken_besides:
        if key in usages:
            usages[key] = usages[key]._replace(callers=callers, reservations=reserved(reservations))
    return usages


def _usage(row: dict[str, Any]) -> Usage:
    return Usage(budget=budget(row), **row)


def budget(row: dict[str, Any]) -> Budget:
    """The budget of a key, whose columns are taken out of the row; as of its `now`."""
    daily = row.pop("quota_daily"), row.pop("used_day")
    monthly = row.pop("quota_monthly"), row.pop("used_month")
    now = datetime.fromtimestamp(row["now"], UTC)
    return Budget(row.pop("credits"), quotas(now, daily=daily, monthly=monthly))


def reserved(reservations: dict[str, int] | None) -> dict[UUID, int]:
    """Places by reservation, as JSON has them."""
    return {UUID(name): places for name, places in (reservations or {}).items()}


PROMISE = """
UPDATE usage u SET promised = p.promised, sync_promised = p.sync_promised
FROM unnest(%(keys)s::int[], %(promised)s::float8[], %(sync_promised)s::float8[])
     AS p (key_id, promised, sync_promised)
WHERE u.key_id = p.key_id
"""


async def promise(
    connection: AsyncConnection, usages: Mapping[int, Usage], *, flushed: bool
) -> None:
    """Remember until when freed places are promised; the caller holds the locks of these keys.

    A transaction of refusals alone is not worth a flush to disk: a crash forgets promises.
    """
    if not flushed:
        await connection.execute(UNFLUSHED)
    await connection.execute(
        PROMISE,
        {
            "keys": list(usages),
            "promised": [usage.promised for usage in usages.values()],
            "sync_promised": [usage.sync_promised for usage in usages.values()],
        },
    )


READ = f"""
SELECT depth AS waiting, capacity, detached, sync_limit, promised, sync_promised, clock AS now,
       drain_rate(drained, drained_at, drained_from, clock) AS drain_per_second,
       {BUDGET},
       (SELECT count(*)::int FROM sync_wait w WHERE w.key_id = usage.key_id) AS callers,
       (SELECT json_object_agg(id, places) FROM reservation r
        WHERE r.key_id = usage.key_id AND places > 0 AND expires_at > now()) AS reservations
FROM usage, (SELECT extract(epoch FROM now())::float8 AS clock,
                    (now() AT TIME ZONE 'UTC')::date AS today) AS at
WHERE key_id = %(key)s
"""  # noqa: S608 - of this file


async def read(connection: AsyncConnection, key_id: int) -> Usage | None:
    """What a key has taken, without its lock, as of the start of the transaction.

    None when there is no such key. A moment later it may be otherwise: nothing is admitted by it.
    """
    cursor = connection.cursor(row_factory=dict_row)
    row: dict[str, Any] | None = await (await cursor.execute(READ, {"key": key_id})).fetchone()
    if row is None:
        return None
    return _usage(row | {"reservations": reserved(row["reservations"])})


async def budget_of(connection: AsyncConnection, key_id: int) -> Budget:
    """What a key may still spend, as `read` has it."""
    found = await read(connection, key_id)
    return found.budget if found else UNBOUND


async def taken(connection: AsyncConnection, key_id: int) -> Taken | None:
    """The numbers that go with a refusal which looked at nothing else; None without the key."""
    found = await read(connection, key_id)
    return found.taken if found else None
