"""HTTP as uvicorn reads it, except for what cannot be read and for a server that leaves.

What cannot be read is refused in the one error shape. While the server leaves, a request that comes
on a connection kept alive is served, is told that it is the last one there, and a connection nobody
uses is kept for a moment longer: a client that is busy hears of it in time, instead of sending into
a connection that is just being closed.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from orchestrator.api import VERSION, problems
from orchestrator.api.stamps import request_id

LARGEST_HEAD_BYTES = 64 * 1024
"""A request's first line and headers: beyond it they are not read to their end."""
LINGER_SECONDS = 1
"""How long a server that leaves keeps a connection that nobody uses."""
_TOO_LONG = f"The first line and the headers may have {LARGEST_HEAD_BYTES:,} bytes."


class State(ServerState):
    """What the connections of a server know in common."""

    leaving = False


class Protocol(HttpToolsProtocol):
    """One connection."""

    server_state: State
    _head: int | None = None
    """Bytes of a head that goes on, those it began with not counted; None between heads."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection begins, perhaps one that was accepted as the door closed."""
        super().connection_made(transport)
        if self.server_state.leaving:
            self.leave()

    def leave(self) -> None:
        """Have the request under way, or the next, be the last; idle, end in a moment."""
        self.timeout_keep_alive = LINGER_SECONDS
        if self.cycle is None or self.cycle.response_complete:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                LINGER_SECONDS, self.timeout_keep_alive_handler
            )
        elif not self.cycle.response_started:
            self.cycle.keep_alive = False

    def abort(self) -> None:
        """End it at once, whatever is under way."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read on; give up on a head without end."""
        before = self._head
        super().data_received(data)
        if before is None or self._head is None or self.transport.is_closing():
            return
        self._head += len(data)
        if self._head > LARGEST_HEAD_BYTES:
            self.send_400_response(_TOO_LONG)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head = 0

    def on_headers_complete(self) -> None:
        """Its head has ended."""
        self._head = None
        super().on_headers_complete()
        if self.server_state.leaving:
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong and hang up: where the next request would begin is anybody's guess."""
        # mypy: a scope of which only these two are looked at
        scope = {"headers": self.headers or [], "state": {}}
        answer = problems.reply(problems.fault("", msg), scope)  # type: ignore[arg-type]
        headers = [
            *answer.headers,
            (b"x-request-id", request_id(scope).encode()),  # type: ignore[arg-type]
            (b"x-parallax-version", VERSION.encode()),
            (b"connection", b"close"),
        ]
        lines = [b"HTTP/1.1 400 Bad Request", *(b": ".join(header) for header in headers)]
        self.transport.write(b"\r\n".join([*lines, b"", answer.body]))
        self.transport.close()
