"""A client of streams: it talks to the application itself, and hears each event as it is sent."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

from litestar import Litestar

PATIENCE_SECONDS = 20.0


class Event(NamedTuple):
    """One that was heard."""

    name: str
    id: str
    data: Any


class Listener:
    """A stream that is open; `pause` makes the client stop reading."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.comments = 0
        self.sent = 0
        self._asked = False
        self._heard = b""
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._started = asyncio.Event()
        self._left = asyncio.Event()
        self._reading = asyncio.Event()
        self._reading.set()

    async def receive(self) -> Any:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            self._started.set()
            return
        await self._reading.wait()
        self.sent += len(message["body"])
        self._parts.put_nowait(message["body"])
        if not message.get("more_body"):
            self._parts.put_nowait(None)

    async def started(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._started.wait()

    async def event(self) -> Event | None:
        """The next event; None at the end of the stream. Comments are counted."""
        while (block := await self._block()) is not None:
            if block.startswith(":"):
                self.comments += 1
                continue
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            assert list(fields) == ["event", "id", "data"]
            return Event(fields["event"], fields["id"], json.loads(fields["data"]))
        return None

    async def rest(self) -> list[Event]:
        """All events up to the end of the stream."""
        found = []
        while (event := await self.event()) is not None:
            found.append(event)
        return found

    async def body(self) -> bytes:
        """All that was sent, when it is no stream of events."""
        while (part := await self.part()) is not None:
            self._heard += part
        return self._heard

    async def heartbeat(self) -> None:
        """Return when the next thing that comes is a comment."""
        block = await self._block()
        assert block is not None
        assert block.startswith(":")

    def quiet(self) -> bool:
        """True when nothing has come that was not read."""
        return self._parts.empty() and not self._heard

    def pause(self) -> None:
        self._reading.clear()

    def go_on(self) -> None:
        self._reading.set()

    def leave(self) -> None:
        """Hang up."""
        self._left.set()

    async def _block(self) -> str | None:
        while b"\n\n" not in self._heard:
            if (part := await self.part()) is None:
                assert self._heard == b""
                return None
            self._heard += part
        block, _, self._heard = self._heard.partition(b"\n\n")
        return block.decode()

    async def part(self) -> bytes | None:
        """What was sent at once; None at the end."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._parts.get()


@asynccontextmanager
async def listening(
    app: Litestar, secret: str, path: str, **headers: str
) -> AsyncIterator[Listener]:
    """The answer to a GET as it comes; whoever leaves the block has hung up."""
    listener = Listener()
    raw, _, query = path.partition("?")
    given = {"authorization": f"Bearer {secret}"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": raw,
        "raw_path": quote(raw).encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
    }
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(app(scope, listener.receive, listener.send))
        try:
            await listener.started()
            yield listener
        finally:
            listener.go_on()
            listener.leave()
