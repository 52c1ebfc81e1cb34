"""Leases: how the lots of a process come out of the buckets, many keys to a transaction."""

from collections.abc import Mapping
from typing import Any

from psycopg import AsyncConnection

from admission import rate
from admission.durability import UNFLUSHED
from admission.rate import GOOD_SECONDS, Ask, Lease, Standing

FORGOTTEN_SECONDS = 2 * 60 + GOOD_SECONDS
"""By then a lot without a word of its process counts no more, whatever the limit."""

MAKE = """
INSERT INTO rate_bucket (key_id, tokens, filled_at)
SELECT id, requests_per_minute, extract(epoch FROM clock_timestamp())
FROM api_key WHERE id = ANY(%(keys)s::int[])
ORDER BY id
ON CONFLICT DO NOTHING
"""

LOCK = """
SELECT FROM rate_bucket WHERE key_id = ANY(%(keys)s::int[]) ORDER BY key_id FOR NO KEY UPDATE
"""

# Under the lock, in a statement of its own: a lot leased while the lock was waited for is seen by
# a new snapshot only. Its process may spend from a lot for `good` seconds; it counts until then and
# until one more is earned.
READ = """
SELECT b.key_id, k.requests_per_minute, b.tokens, b.filled_at, l.others, l.mine, clock.now
FROM (SELECT extract(epoch FROM clock_timestamp())::float8 AS now) AS clock
CROSS JOIN rate_bucket b
JOIN api_key k ON k.id = b.key_id
CROSS JOIN LATERAL (
  SELECT coalesce(sum(tokens) FILTER (WHERE node <> %(node)s), 0)::bigint AS others,
         coalesce(sum(tokens) FILTER (WHERE node = %(node)s), 0)::bigint AS mine
  FROM rate_lot
  WHERE key_id = b.key_id
    AND leased_at > clock.now - %(good)s - greatest(%(good)s, 60.0 / k.requests_per_minute)
) AS l
WHERE b.key_id = ANY(%(keys)s::int[])
"""

WRITE = """
WITH leased AS MATERIALIZED (
  SELECT * FROM unnest(%(keys)s::int[], %(tokens)s::float8[], %(lots)s::int[], %(ats)s::float8[])
                AS t (key_id, tokens, lot, at)),
emptied AS (
  UPDATE rate_bucket b SET tokens = n.tokens, filled_at = n.at
  FROM leased n
  WHERE b.key_id = n.key_id AND b.key_id = ANY(%(keys)s::int[]))
INSERT INTO rate_lot (key_id, node, tokens, leased_at)
SELECT key_id, %(node)s, lot, at FROM leased ORDER BY key_id
ON CONFLICT (key_id, node)
DO UPDATE SET tokens = excluded.tokens, leased_at = excluded.leased_at
"""


async def lease(
    connection: AsyncConnection, node: int, asks: Mapping[int, Ask]
) -> dict[int, Lease]:
    """Answer this process's asks, by key id, in a transaction of the caller's.

    A key that is gone gets no answer. Two round trips in a pipeline, commit included; not flushed
    to disk, since a crash forgets a lot at most.
    """
    wanted = {"keys": sorted(asks), "node": node, "good": GOOD_SECONDS}
    for statement in (UNFLUSHED, MAKE, LOCK):
        await connection.execute(statement, wanted)
    rows = await connection.execute(READ, wanted)
    leases = {row[0]: rate.lease(Standing(*row[1:]), asks[row[0]]) async for row in rows}
    written: dict[str, Any] = {
        "keys": list(leases),
        "tokens": [one.tokens for one in leases.values()],
        "lots": [one.lot for one in leases.values()],
        "ats": [one.at for one in leases.values()],
        "node": node,
    }
    await connection.execute(WRITE, written)
    return leases


FORGET = """
DELETE FROM rate_lot
WHERE (key_id, node) IN (
  SELECT key_id, node FROM rate_lot
  WHERE leased_at < extract(epoch FROM clock_timestamp())::float8 - %(forgotten)s
  FOR UPDATE SKIP LOCKED)
"""


async def forget_dead(connection: AsyncConnection) -> int:
    """Delete the lots of processes that are silent for long; how many.

    They count no more in any case: this keeps the table small.
    """
    return (await connection.execute(FORGET, {"forgotten": FORGOTTEN_SECONDS})).rowcount
