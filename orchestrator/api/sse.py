"""Server-sent events, for as long as somebody listens."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import anyio
import msgspec
from anyio import CancelScope
from litestar.types import Receive, Send

from orchestrator.api import leaving
from orchestrator.api.replies import Header

MEDIA = "text/event-stream"
HEADERS: list[Header] = [
    (b"content-type", MEDIA.encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy that gathers lines would hold events back
]
HEARTBEAT = b": still here\n\n"
"""A comment, which clients skip; it keeps what stands between from giving up the connection."""


def event(name: str, data: Any, id_: str) -> bytes:
    """An event: its data is the JSON of a record, on one line."""
    return encoded(name, msgspec.json.encode(data), id_)


def encoded(name: str, data: bytes, id_: str) -> bytes:
    """An event whose data is JSON already."""
    return b"event: %b\nid: %b\ndata: %b\n\n" % (name.encode(), id_.encode(), data)


async def send_all(events: AsyncGenerator[bytes], receive: Receive, send: Send) -> None:
    """Send events until there are no more, or the client has left; then let go of them."""
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    async with aclosing(events), anyio.create_task_group() as tasks:
        tasks.start_soon(_leave, receive, tasks.cancel_scope)
        async for part in events:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        tasks.cancel_scope.cancel()


async def _leave(receive: Receive, scope: CancelScope) -> None:
    await leaving.left(receive)
    scope.cancel()
