"""A receiver of webhooks that costs little itself: acknowledges each request. Prints its port.

After as many seconds as it is told: `python -m tests.bench.receiver 0.1`.
"""

import asyncio
import re
import sys

import uvloop

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


class Receiver(asyncio.Protocol):
    """Reads each request whole, and says that it has it."""

    def connection_made(self, transport):
        self._transport = transport
        self._seen = b""

    def data_received(self, data):
        self._seen += data
        while (end := self._seen.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self._seen, 0, end)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self._seen) < whole:
                return
            self._seen = self._seen[whole:]
            asyncio.get_running_loop().call_later(SECONDS, self._transport.write, ANSWER)


async def main():
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
