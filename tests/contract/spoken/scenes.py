"""Where an exchange plays: the limits of its key, and what happened before.

A file names its scene by the words that are a key here.
"""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import NamedTuple

import httpx

from admission.keys import Role
from admission.limits import Limits

STREAMS = 100
"""As many as a key may have open."""


class Scene(NamedTuple):
    """What is not as it is for a new key that asks a server at rest."""

    limits: Limits = Limits()
    credits: int | None = None
    role: Role = "client"
    keyless: bool = False
    impatient: bool = False
    prepare: Callable[[httpx.AsyncClient, AsyncExitStack], Awaitable[None]] | None = None


async def crowd(client: httpx.AsyncClient, exits: AsyncExitStack) -> None:
    """As many streams as there may be."""
    for _ in range(STREAMS):
        stream = await exits.enter_async_context(client.stream("GET", "/v1/async/status/stream"))
        assert stream.status_code == 200


SCENES = {
    "": Scene(),
    "without a key": Scene(keyless=True),
    "an operator's key": Scene(role="operator"),
    "20 credits": Scene(credits=20),
    "20 credits, and two cells a day": Scene(limits=Limits(quota_daily=2), credits=20),
    "4 credits": Scene(credits=4),
    "two cells a day": Scene(limits=Limits(quota_daily=2)),
    "one request a minute": Scene(limits=Limits(requests_per_minute=1)),
    "no room in the queue": Scene(limits=Limits(queue_capacity=0)),
    "room for two": Scene(limits=Limits(queue_capacity=2)),
    "no sync place": Scene(limits=Limits(sync_limit=0)),
    "a server that hardly waits": Scene(impatient=True),
    "a server that tells Rodin's clients of their own work": Scene(impatient=True),
    "an operator has paused chatgpt in AQ": Scene(),
    "100 streams are open": Scene(prepare=crowd),
}
