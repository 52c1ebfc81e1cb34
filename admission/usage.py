"""The usage row of a key: its lock is what makes admission exact."""

from collections.abc import Iterable

from psycopg import AsyncConnection

from admission.policy import Usage

LOCK = """
SELECT key_id, depth, capacity,
       drain_rate(drained, drained_at, extract(epoch FROM clock_timestamp())::float8)
FROM usage
WHERE key_id = ANY(%(keys)s)
ORDER BY key_id
FOR NO KEY UPDATE
"""


async def lock(connection: AsyncConnection, keys: Iterable[int]) -> dict[int, Usage]:
    """Lock the rows of these keys in key order until the transaction ends, and read them."""
    cursor = await connection.execute(LOCK, {"keys": sorted(set(keys))})
    return {key: Usage(depth, capacity, drain) async for key, depth, capacity, drain in cursor}
