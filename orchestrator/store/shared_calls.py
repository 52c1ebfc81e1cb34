"""Upstream calls that identical cells share: who makes one, and what came of it.

A call is led by one worker process. It is given up when that process dies, or when it has not ended
in its time; whoever asks next leads another. What it found is good until then as well.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

from admission.durability import UNFLUSHED
from orchestrator.store import plans
from orchestrator.store.nodes import DEAD_AFTER_SECONDS

GRACE_SECONDS = 60.0
"""A call that is over stays for so long: whoever followed it hears that it failed."""


class Asked(NamedTuple):
    """A call that is wanted. Who may lead it does so as `token`, for at most so many seconds.

    `followed` is the call that was waited for so far: only who waited for it hears of its failure.
    """

    digest: bytes
    token: UUID
    seconds: float
    followed: UUID | None = None


class Heard(NamedTuple):
    """What becomes of it: `leads`, or the `capture` or `failure` of another, as JSON.

    Or none of these: the call with this `token` runs; None, if somebody began one just now.
    """

    digest: bytes
    leads: bool
    token: UUID | None = None
    capture: str | None = None
    failure: str | None = None


class Told(NamedTuple):
    """What came of a call: a capture, good for so many seconds, a failure, or neither."""

    digest: bytes
    token: UUID
    seconds: float
    capture: str | None = None
    failure: str | None = None


# What counts is read first, and touched by nobody: most who ask wait.
_COUNTS = """
s.until > now() AND (
  s.capture IS NOT NULL
  OR CASE WHEN s.failure IS NOT NULL THEN s.token = {followed}
     ELSE EXISTS (SELECT FROM node n WHERE n.id = s.node
                    AND n.heartbeat_at > now() - %(dead)s * interval '1 second') END)
"""

ASK = f"""
WITH asked AS MATERIALIZED (
  SELECT * FROM unnest(%(digests)b::bytea[], %(tokens)b::uuid[], %(seconds)b::float8[],
                       %(followed)b::uuid[]) AS t (digest, token, seconds, followed)
), found AS MATERIALIZED (
  SELECT s.*
  FROM asked a
  CROSS JOIN LATERAL (
    SELECT digest, token, capture, failure FROM shared_call s
    WHERE s.digest = a.digest AND {_COUNTS.format(followed="a.followed")}
    LIMIT 1) AS s
), led AS (
  INSERT INTO shared_call AS s (digest, token, node, until)
  SELECT digest, token, %(node)s, now() + seconds * interval '1 second'
  FROM asked a
  WHERE NOT EXISTS (SELECT FROM found f WHERE f.digest = a.digest)
  ORDER BY digest
  ON CONFLICT (digest) DO UPDATE SET
    token = excluded.token, node = excluded.node, until = excluded.until,
    capture = NULL, failure = NULL
  WHERE ({
    _COUNTS.format(followed="(SELECT followed FROM asked a WHERE a.digest = s.digest)")
}) IS NOT TRUE
  RETURNING digest
)
SELECT a.digest, l.digest IS NOT NULL AS leads, f.token, f.capture, f.failure
FROM asked a
LEFT JOIN led l ON l.digest = a.digest
LEFT JOIN found f ON f.digest = a.digest
"""  # noqa: S608 - of constants


async def ask(connection: AsyncConnection, node: int, asked: Sequence[Asked]) -> dict[bytes, Heard]:
    """What becomes of each of these calls, by digest; of one asked twice the last counts."""
    distinct = {one.digest: one for one in asked}.values()
    columns = {
        "digests": [one.digest for one in distinct],
        "tokens": [one.token for one in distinct],
        "seconds": [float(one.seconds) for one in distinct],
        "followed": [one.followed for one in distinct],
    }
    cursor = connection.cursor(row_factory=class_row(Heard))
    async with connection.pipeline(), connection.transaction():
        await connection.execute(UNFLUSHED)
        await connection.execute(plans.PROBE)
        await cursor.execute(ASK, {**columns, "node": node, "dead": DEAD_AFTER_SECONDS})
    return {heard.digest: heard for heard in await cursor.fetchall()}


# Locked in the order in which they are asked for.
TELL = """
WITH told AS MATERIALIZED (
  SELECT * FROM unnest(%(digests)b::bytea[], %(tokens)b::uuid[], %(seconds)b::float8[],
                       %(captures)b::text[], %(failures)b::text[])
    AS t (digest, token, seconds, capture, failure)
), held AS MATERIALIZED (
  SELECT digest, token FROM shared_call WHERE digest = ANY(%(digests)b::bytea[])
  ORDER BY digest FOR UPDATE
)
UPDATE shared_call s
SET capture = t.capture, failure = t.failure, until = now() + t.seconds * interval '1 second'
FROM told t
JOIN held h ON h.digest = t.digest AND h.token = t.token
WHERE s.digest = t.digest
"""


async def tell(connection: AsyncConnection, told: Sequence[Told]) -> None:
    """Say what came of these calls; of those that were given up meanwhile nothing is heard."""
    columns = {
        "digests": [one.digest for one in told],
        "tokens": [one.token for one in told],
        "seconds": [float(one.seconds) for one in told],
        "captures": [one.capture for one in told],
        "failures": [one.failure for one in told],
    }
    async with connection.pipeline(), connection.transaction():
        await connection.execute(UNFLUSHED)
        await connection.execute(plans.PROBE)
        await connection.execute(TELL, columns)


FORGET = """
WITH old AS MATERIALIZED (
  SELECT digest FROM shared_call
  WHERE until < now() - %(grace)s * interval '1 second'
  ORDER BY until
  LIMIT %(most)s
  FOR UPDATE SKIP LOCKED
)
DELETE FROM shared_call WHERE digest = ANY(ARRAY(SELECT digest FROM old))
"""


async def forget(connection: AsyncConnection, *, most: int = 1_000) -> int:
    """Delete calls that are of no more use, at most so many; how many there were."""
    async with connection.transaction():
        await connection.execute(UNFLUSHED)
        await connection.execute(plans.IN_ORDER)
        cursor = await connection.execute(FORGET, {"grace": GRACE_SECONDS, "most": most})
    return cursor.rowcount
