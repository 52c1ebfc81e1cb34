"""HTTP as uvicorn reads it, except that what cannot be read is refused in the one error shape."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from orchestrator.api import VERSION, problems
from orchestrator.api.stamps import request_id

LARGEST_HEAD_BYTES = 64 * 1024
"""A request's first line and headers: beyond it they are not read to their end."""
_TOO_LONG = f"The first line and the headers may have {LARGEST_HEAD_BYTES:,} bytes."


class Protocol(HttpToolsProtocol):
    """One connection."""

    _head: int | None = None
    """Bytes of a head that goes on, those it began with not counted; None between heads."""

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
