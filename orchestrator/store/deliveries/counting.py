"""How much the outbox holds that is not delivered, counted as far as somebody looks."""

from psycopg import AsyncConnection

from orchestrator.store import plans

MOST = 10_000

COUNT = """
SELECT (SELECT count(*)::int
        FROM (SELECT FROM delivery WHERE status = 'pending'
              ORDER BY again, endpoint, due_at LIMIT %(most)s) AS few),
       (SELECT count(*)::int
        FROM (SELECT FROM delivery WHERE status = 'dead' AND status <> 'pending'
              ORDER BY status, key_id, created_at, parent_id, ordinal, run LIMIT %(most)s) AS few)
"""


async def undelivered(connection: AsyncConnection) -> dict[str, int]:
    """Deliveries of all keys that are pending, and that are dead, each counted to 10,000."""
    async with connection.transaction():
        await connection.execute(plans.IN_ORDER)
        row = await (await connection.execute(COUNT, {"most": MOST})).fetchone()
    assert row  # noqa: S101 - it has no FROM
    return {"pending": row[0], "dead": row[1]}
