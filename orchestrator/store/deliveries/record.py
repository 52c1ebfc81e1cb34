"""Recording how attempts at deliveries went, each under the token of its claim."""

from collections.abc import Sequence
from typing import Literal, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from orchestrator.store import plans

Status = Literal["pending", "delivered", "dead"]


class Attempted(NamedTuple):
    """An attempt that ended; `code` is the status of the reply, None where there was none.

    What is still pending is due again after `delay_seconds`.
    """

    parent_id: UUID
    run: int
    ordinal: int
    claim: int
    status: Status
    code: int | None
    delay_seconds: float = 0.0


RECORD = """
WITH outcome AS MATERIALIZED (
  SELECT * FROM unnest(
    %(parents)b::uuid[], %(runs)b::int4[], %(ordinals)b::int2[], %(claims)b::int8[],
    %(statuses)b::text[], %(codes)b::int2[], %(delays)b::float8[]
  ) AS t (parent_id, run, ordinal, claim, status, code, delay)
), locked AS MATERIALIZED (
  SELECT o.*
  FROM outcome o
  JOIN delivery d ON d.parent_id = o.parent_id AND d.run = o.run AND d.ordinal = o.ordinal
                 AND d.claim = o.claim
  ORDER BY d.parent_id, d.run, d.ordinal
  FOR NO KEY UPDATE OF d
)
UPDATE delivery d
SET status = o.status, claim = NULL, last_code = o.code,
    due_at = now() + o.delay * interval '1 second',
    delivered_at = CASE WHEN o.status = 'delivered' THEN now() END
FROM locked o
WHERE d.parent_id = o.parent_id AND d.run = o.run AND d.ordinal = o.ordinal AND d.claim = o.claim
"""


async def record(connection: AsyncConnection, attempts: Sequence[Attempted]) -> int:
    """Record these attempts, durably; how many whose claim still held. A stale one is dropped."""
    if not attempts:
        return 0
    async with connection.pipeline(), connection.transaction():
        await connection.execute(plans.PROBE)
        cursor = await connection.execute(
            RECORD,
            {
                "parents": [one.parent_id for one in attempts],
                "runs": [one.run for one in attempts],
                "ordinals": [one.ordinal for one in attempts],
                "claims": [one.claim for one in attempts],
                "statuses": [one.status for one in attempts],
                "codes": [one.code for one in attempts],
                "delays": [float(one.delay_seconds) for one in attempts],
            },
        )
    return cursor.rowcount
