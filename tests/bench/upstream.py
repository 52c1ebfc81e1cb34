"""An upstream that costs little itself: every request gets the same JSON. Prints its port."""

import asyncio
import json

import uvloop

REPLY = json.dumps(
    {
        "answer": {"text": "Most testers name the same three shoes. " * 10},
        "results": [
            {"link": f"https://example.com/{n}", "title": f"Running shoes, page {n}"}
            for n in range(8)
        ],
    }
).encode()
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(REPLY)
    + REPLY
)


class Upstream(asyncio.Protocol):
    """Answers each request head; bodies are not expected."""

    def connection_made(self, transport):
        self._transport = transport
        self._seen = b""

    def data_received(self, data):
        self._seen += data
        *whole, self._seen = self._seen.split(b"\r\n\r\n")
        if whole:
            self._transport.write(ANSWER * len(whole))


async def main():
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
