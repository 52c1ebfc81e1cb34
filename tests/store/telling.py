"""What the tests of deliveries begin with: parents with a webhook, and reading the outbox."""

import secrets
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from admission.keys import Key
from orchestrator.domain import webhooks
from orchestrator.domain.webhooks import Webhook
from orchestrator.fanout import fan_out
from orchestrator.store import deliveries
from orchestrator.store.children import Claimed
from orchestrator.store.deliveries import Attempted, ClaimedDelivery, Look, Met, Order, Status
from tests import factories

URL = "https://hooks.example/jobs"
BOTH = Webhook(url=URL)
CELLS_ONLY = Webhook(url=URL, events=("job",))
PARENT_ONLY = Webhook(url=URL, events=("parent",))

TOLD = """
SELECT parent_id, run, ordinal, state FROM delivery ORDER BY 1, 2, 3
"""


async def told(connection: AsyncConnection) -> list[tuple[Any, ...]]:
    """Every event: its parent, run, ordinal and end."""
    return await (await connection.execute(TOLD)).fetchall()


async def waiting(
    connection: AsyncConnection,
    owner: Key,
    lanes: Sequence[int],
    webhook: Webhook | None = BOTH,
    **fields: Any,
) -> UUID:
    """A parent with this webhook in the queue."""
    return await factories.new_waiting(connection, owner, lanes, webhook=webhook, **fields)


async def working(
    connection: AsyncConnection,
    owner: Key,
    lanes: Sequence[int],
    webhook: Webhook | None = BOTH,
    **fields: Any,
) -> tuple[UUID, list[Claimed]]:
    """A parent with this webhook, all its children running, in ordinal order."""
    parent = await waiting(connection, owner, lanes, webhook, **fields)
    await fan_out(connection)
    claimed = await factories.claim(connection)
    return parent, sorted(claimed, key=lambda child: child.ordinal)


async def ended(
    connection: AsyncConnection, owner: Key, lane: int, *, n: int = 1, url: str = URL
) -> list[UUID]:
    """Parents of one cell that completed, whose children told of it."""
    made = []
    for _ in range(n):
        webhook = Webhook(url=url, events=("job",))
        parent, claimed = await working(connection, owner, [lane], webhook)
        await factories.complete(connection, claimed)
        made.append(parent)
    return made


def endpoint(owner: Key, url: str = URL) -> int:
    """The endpoint of this URL."""
    return webhooks.endpoint(owner.id, url)


async def due(connection: AsyncConnection, *, again: bool = False, most: int = 100) -> Met:
    """The endpoints that have something due, and when the others have."""
    return await deliveries.due(connection, Look(again, deliveries.BEFORE_ALL, most, most))


async def claim(
    connection: AsyncConnection,
    to: int,
    *,
    most: int = 100,
    again: bool = False,
    most_bytes: int = 1_000_000,
) -> list[ClaimedDelivery]:
    """What is due for this endpoint."""
    orders, token = [Order(to, again, most)], secrets.randbits(62)
    return await deliveries.claim(connection, orders, token=token, most_bytes=most_bytes)


async def record(
    connection: AsyncConnection,
    claimed: Sequence[ClaimedDelivery],
    status: Status = "delivered",
    code: int | None = 200,
    delay: float = 0.0,
) -> int:
    """That each went so; how many were recorded."""
    return await deliveries.record(
        connection,
        [
            Attempted(one.parent_id, one.run, one.ordinal, one.claim, status, code, delay)
            for one in claimed
        ],
    )
