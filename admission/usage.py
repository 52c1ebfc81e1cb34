"""The usage row of a key: its lock is what makes admission exact."""

from collections.abc import Iterable, Mapping

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from admission.durability import UNFLUSHED
from admission.policy import Usage
from admission.refusals import Taken

LOCK = """
SELECT key_id, depth, capacity, detached, sync_limit, promised, sync_promised, clock AS now,
       drain_rate(drained, drained_at, drained_from, clock) AS drain_per_second
FROM usage, (SELECT extract(epoch FROM clock_timestamp())::float8 AS clock) AS at
WHERE key_id = ANY(%(keys)s)
ORDER BY key_id
FOR NO KEY UPDATE OF usage
"""

# Under the lock, in a statement of its own: a caller admitted while the lock was waited for is
# seen by a new snapshot only.
CALLERS = """
SELECT key_id, count(*)::int FROM sync_wait WHERE key_id = ANY(%(keys)s) GROUP BY 1
"""


async def lock(connection: AsyncConnection, keys: Iterable[int]) -> dict[int, Usage]:
    """Lock the rows of these keys in key order until the transaction ends, and read them."""
    wanted = {"keys": sorted(set(keys))}
    rows = await connection.cursor(row_factory=dict_row).execute(LOCK, wanted)
    waiting = await connection.execute(CALLERS, wanted)
    usages = {row.pop("key_id"): Usage(**row) async for row in rows}
    async for key, callers in waiting:
        usages[key] = usages[key]._replace(callers=callers)
    return usages


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


READ = """
SELECT depth, capacity, detached, sync_limit,
       (SELECT count(*)::int FROM sync_wait w WHERE w.key_id = usage.key_id) AS callers
FROM usage
WHERE key_id = %(key)s
"""


async def taken(connection: AsyncConnection, key_id: int) -> Taken | None:
    """What a key has taken, without its lock: a moment later it may be otherwise."""
    cursor = connection.cursor(row_factory=dict_row)
    row = await (await cursor.execute(READ, {"key": key_id})).fetchone()
    return Usage(**row).taken if row else None
