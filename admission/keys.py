"""API keys: the account, its limits and its secrets. Only digests are stored."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row

from admission.limits import Limits

PREFIX = "sk_live_"
SECRET = re.compile(r"sk_live_[A-Za-z0-9_-]{32,128}")

Role = Literal["client", "operator"]


class Key(NamedTuple):
    """An account as a request meets it.

    `credits` are those that were free when it was listed, None for no end of them; a request meets
    what is free when it is decided on.
    """

    id: int
    name: str
    role: Role
    limits: Limits
    expires_at: datetime | None
    credits: int | None = None


class Issued(NamedTuple):
    """A key and the secret just made for it; the secret is not to be had again."""

    key: Key
    secret: str

    def __repr__(self) -> str:
        return f"Issued(key={self.key!r}, secret=…)"


class NameTakenError(Exception):
    """A key of this name exists."""


class _Row(NamedTuple):
    id: int
    name: str
    role: Role
    requests_per_minute: int
    sync_limit: int
    queue_capacity: int
    concurrency: int
    weight: float
    quota_daily: int | None
    quota_monthly: int | None
    coalesce: bool
    expires_at: datetime | None
    credits: int | None = None

    def key(self) -> Key:
        limits = Limits(*self[3:11])
        return Key(self.id, self.name, self.role, limits, self.expires_at, self.credits)


def well_formed(secret: str) -> bool:
    """True when this could be a secret: `sk_live_` and 32 to 128 url-safe characters."""
    return SECRET.fullmatch(secret) is not None


def digest(secret: str) -> bytes:
    """What is stored of a secret: it has 256 bits of its own, so a plain SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).digest()


AUTHENTICATE = """
SELECT k.id, k.name, k.role, k.requests_per_minute, k.sync_limit, k.queue_capacity, k.concurrency,
       k.weight, k.quota_daily, k.quota_monthly, k.coalesce, s.expires_at
FROM api_secret s
JOIN api_key k ON k.id = s.key_id
WHERE s.digest = %(digest)s
  AND s.revoked_at IS NULL
  AND (s.expires_at IS NULL OR s.expires_at > now())
"""


async def authenticate(connection: AsyncConnection, secret: str) -> Key | None:
    """The key of a live secret, or None: unknown, expired and revoked look alike."""
    cursor = connection.cursor(row_factory=class_row(_Row))
    row = await (await cursor.execute(AUTHENTICATE, {"digest": digest(secret)})).fetchone()
    return row.key() if row else None


CREATE = """
INSERT INTO api_key (name, role, requests_per_minute, sync_limit, queue_capacity, concurrency,
                     weight, quota_daily, quota_monthly, coalesce)
VALUES (%(name)s, %(role)s, %(requests_per_minute)s, %(sync_limit)s, %(queue_capacity)s,
        %(concurrency)s, %(weight)s, %(quota_daily)s, %(quota_monthly)s, %(coalesce)s)
RETURNING id
"""


async def create(
    connection: AsyncConnection,
    name: str,
    *,
    limits: Limits | None = None,
    role: Role = "client",
    expires_at: datetime | None = None,
) -> Issued:
    """A new key with its first secret. Raises `NameTakenError`."""
    limits = limits or Limits()
    try:
        cursor = await connection.execute(CREATE, {"name": name, "role": role, **limits._asdict()})
    except UniqueViolation:
        raise NameTakenError(name) from None
    (key_id,) = await cursor.fetchone() or (0,)
    secret = await _issue(connection, key_id, expires_at)
    return Issued(Key(key_id, name, role, limits, expires_at), secret)


ISSUE = """
INSERT INTO api_secret (key_id, digest, expires_at) VALUES (%(key)s, %(digest)s, %(expires_at)s)
"""


async def _issue(connection: AsyncConnection, key_id: int, expires_at: datetime | None) -> str:
    secret = PREFIX + secrets.token_urlsafe(32)
    await connection.execute(
        ISSUE, {"key": key_id, "digest": digest(secret), "expires_at": expires_at}
    )
    return secret


LIST = """
SELECT k.id, k.name, k.role, k.requests_per_minute, k.sync_limit, k.queue_capacity, k.concurrency,
       k.weight, k.quota_daily, k.quota_monthly, k.coalesce,
       nullif(max(coalesce(s.expires_at, 'infinity')), 'infinity') AS expires_at, u.credits
FROM api_key k
JOIN usage u ON u.key_id = k.id
LEFT JOIN api_secret s ON s.key_id = k.id AND s.revoked_at IS NULL
WHERE %(name)s::text IS NULL OR k.name = %(name)s::text
GROUP BY k.id, u.credits
ORDER BY k.name
"""


async def all_keys(connection: AsyncConnection) -> Sequence[Key]:
    """Every key, by name."""
    return await _named(connection, None)


async def find(connection: AsyncConnection, name: str) -> Key | None:
    """The key of this name, or None."""
    return next(iter(await _named(connection, name)), None) if "\0" not in name else None


async def _named(connection: AsyncConnection, name: str | None) -> Sequence[Key]:
    cursor = connection.cursor(row_factory=class_row(_Row))
    return [row.key() for row in await (await cursor.execute(LIST, {"name": name})).fetchall()]


RETIRE = """
UPDATE api_secret SET expires_at = least(expires_at, now() + %(overlap)s * interval '1 second')
WHERE key_id = %(key)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""


async def rotate(
    connection: AsyncConnection,
    key: Key,
    *,
    overlap_seconds: float = 0,
    expires_at: datetime | None = None,
) -> Issued:
    """A new secret; those live now stay so for `overlap_seconds` more."""
    await connection.execute(RETIRE, {"key": key.id, "overlap": overlap_seconds})
    secret = await _issue(connection, key.id, expires_at)
    return Issued(key._replace(expires_at=expires_at), secret)


REVOKE = """
UPDATE api_secret SET revoked_at = now()
WHERE key_id = %(key)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""


async def revoke(connection: AsyncConnection, key: Key) -> int:
    """Revoke every live secret of the key; how many there were."""
    return (await connection.execute(REVOKE, {"key": key.id})).rowcount


SET_LIMITS = """
UPDATE api_key
SET requests_per_minute = %(requests_per_minute)s, sync_limit = %(sync_limit)s,
    queue_capacity = %(queue_capacity)s, concurrency = %(concurrency)s, weight = %(weight)s,
    quota_daily = %(quota_daily)s, quota_monthly = %(quota_monthly)s, coalesce = %(coalesce)s
WHERE id = %(key)s
"""


async def set_limits(connection: AsyncConnection, key: Key, limits: Limits) -> Key:
    """Change the limits; admission and claim go by them from this commit on."""
    await connection.execute(SET_LIMITS, {"key": key.id, **limits._asdict()})
    return key._replace(limits=limits)


SET_CREDITS = """
UPDATE usage SET credits = %(credits)s WHERE key_id = %(key)s
"""


async def set_credits(connection: AsyncConnection, key: Key, free: int | None) -> Key:
    """So many credits are free from this commit on, beside those that jobs hold; None: no end."""
    await connection.execute(SET_CREDITS, {"key": key.id, "credits": free})
    return key._replace(credits=free)
