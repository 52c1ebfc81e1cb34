"""Accounts as operators see them: every key with its limits and what it has taken."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from admission.keys import Role
from admission.limits import Limits
from admission.policy import Usage
from admission.usage import reserved


class Account(NamedTuple):
    """A key, how many of its secrets are live, and what it has taken.

    `processing` counts its children that run, sync ones among them; `credits` are free, None for
    no end of them.
    """

    id: int
    name: str
    role: Role
    limits: Limits
    created_at: datetime
    secrets: int
    usage: Usage
    processing: int
    credits: int | None


ALL = """
SELECT k.id, k.name, k.role, k.requests_per_minute, k.sync_limit, k.queue_capacity, k.concurrency,
       k.weight, k.quota_daily, k.quota_monthly, k.coalesce, k.created_at, u.depth,
       u.detached, u.processing, u.credits,
       (SELECT count(*)::int FROM api_secret s
        WHERE s.key_id = k.id AND s.revoked_at IS NULL
          AND (s.expires_at IS NULL OR s.expires_at > now())) AS secrets,
       (SELECT count(*)::int FROM sync_wait w WHERE w.key_id = k.id) AS callers,
       (SELECT json_object_agg(r.id, r.places) FROM reservation r
        WHERE r.key_id = k.id AND r.places > 0 AND r.expires_at > now()) AS reservations
FROM api_key k
JOIN usage u ON u.key_id = k.id
ORDER BY k.name
"""


async def all_accounts(connection: AsyncConnection) -> Sequence[Account]:
    """Every account as of one moment, by name."""
    cursor = connection.cursor(row_factory=dict_row)
    return [
        Account(
            id=row["id"],
            name=row["name"],
            role=row["role"],
            limits=Limits(**{name: row[name] for name in Limits._fields}),
            created_at=row["created_at"],
            secrets=row["secrets"],
            usage=Usage(
                waiting=row["depth"],
                capacity=row["queue_capacity"],
                reservations=reserved(row["reservations"]),
                callers=row["callers"],
                detached=row["detached"],
                sync_limit=row["sync_limit"],
            ),
            processing=row["processing"],
            credits=row["credits"],
        )
        for row in await (await cursor.execute(ALL)).fetchall()
    ]
