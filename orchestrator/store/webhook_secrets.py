"""The secrets a key's events are signed with: made, listed, revoked; stored sealed."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

from admission import usage

MOST = 10
"""Live secrets of a key: each signs every event."""


class WebhookSecretRow(NamedTuple):
    """A live secret, without what it is."""

    id: UUID
    created_at: datetime
    expires_at: datetime | None


FORGET_EXPIRED = """
DELETE FROM webhook_secret WHERE key_id = %(key)s AND expires_at <= now()
"""

MAKE = """
INSERT INTO webhook_secret (id, key_id, sealed, expires_at)
SELECT %(id)s, %(key)s, %(sealed)s, %(expires_at)s
WHERE (SELECT count(*) FROM webhook_secret WHERE key_id = %(key)s) < %(most)s
"""


async def make(
    connection: AsyncConnection,
    secret: UUID,
    *,
    key_id: int,
    sealed: str,
    expires_at: datetime | None,
) -> bool:
    """Store a new secret of this key; False: it has `MOST`. Must run inside a transaction."""
    await usage.lock(connection, [key_id])
    await connection.execute(FORGET_EXPIRED, {"key": key_id})
    named = {"id": secret, "key": key_id, "sealed": sealed, "expires_at": expires_at, "most": MOST}
    return (await connection.execute(MAKE, named)).rowcount > 0


LIST = """
SELECT id, created_at, expires_at FROM webhook_secret
WHERE key_id = %(key)s AND coalesce(expires_at > now(), true)
ORDER BY created_at DESC, id DESC
"""


async def live(connection: AsyncConnection, key_id: int) -> list[WebhookSecretRow]:
    """The live secrets of a key, newest first."""
    cursor = connection.cursor(row_factory=class_row(WebhookSecretRow))
    return await (await cursor.execute(LIST, {"key": key_id})).fetchall()


SEALED = """
SELECT key_id, array_agg(sealed ORDER BY created_at DESC, id DESC) FROM webhook_secret
WHERE key_id = ANY(%(keys)s) AND coalesce(expires_at > now(), true)
GROUP BY 1
"""


async def sealed(connection: AsyncConnection, keys: Collection[int]) -> dict[int, list[str]]:
    """The live secrets of these keys as they are stored, newest first."""
    cursor = await connection.execute(SEALED, {"keys": list(keys)})
    return {key: secrets async for key, secrets in cursor}


# LIMIT keeps each a probe, whatever the planner makes of so many.
NEWEST_OF = """
SELECT asked.id, s.sealed
FROM unnest(%(parents)s::uuid[]) AS asked (id)
CROSS JOIN LATERAL (SELECT key_id FROM parent WHERE id = asked.id LIMIT 1) AS p
CROSS JOIN LATERAL (
  SELECT sealed FROM webhook_secret
  WHERE key_id = p.key_id AND coalesce(expires_at > now(), true)
  ORDER BY created_at DESC, id DESC
  LIMIT 1) AS s
"""


async def newest_of(connection: AsyncConnection, parents: Collection[UUID]) -> dict[UUID, str]:
    """The newest live secret of the key of each of these parents, as it is stored."""
    cursor = await connection.execute(NEWEST_OF, {"parents": list(parents)})
    return {parent: secret async for parent, secret in cursor}


REVOKE = """
DELETE FROM webhook_secret WHERE id = %(id)s AND key_id = %(key)s
"""


async def revoke(connection: AsyncConnection, secret: UUID, *, key_id: int) -> bool:
    """Have this secret sign nothing any more; False: the key has no such secret."""
    return (await connection.execute(REVOKE, {"id": secret, "key": key_id})).rowcount > 0
