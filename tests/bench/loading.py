"""A load client that costs little itself: raw HTTP/1.1 over kept connections."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit


class Answered(NamedTuple):
    """What came back: seconds in all, status counts, and the seconds of each request."""

    seconds: float
    statuses: dict[int, int]
    latencies: Sequence[float]

    @property
    def rate(self) -> float:
        """Requests answered per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """The latency below which this share of the requests lay, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def request(method: str, path: str, secret: str, body: bytes = b"", **more: str) -> bytes:
    """The bytes of one request; `more` are headers, with `_` for `-`."""
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {secret}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode() + body


class _Client(asyncio.Protocol):
    """One kept connection: as soon as an answer is whole the next request goes out."""

    def __init__(self, numbers: Iterator[int], make: Callable[[int], bytes]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.statuses: Counter[int] = Counter()
        self.latencies: list[float] = []
        self._numbers = numbers
        self._make = make
        self._seen = b""
        self._began = 0.0

    def connection_made(self, transport):
        self._transport = transport
        self._next()

    def data_received(self, data):
        self._seen += data
        head, whole, body = self._seen.partition(b"\r\n\r\n")
        if not whole or len(body) < _length(head):
            return
        self.latencies.append(time.perf_counter() - self._began)
        self.statuses[int(head[9:12])] += 1
        self._seen = b""
        self._next()

    def connection_lost(self, exc):
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server hung up"))

    def _next(self) -> None:
        number = next(self._numbers, None)
        if number is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._began = time.perf_counter()
        self._transport.write(self._make(number))


def _length(head: bytes) -> int:
    start = head.lower().index(b"content-length:") + 15
    return int(head[start:].partition(b"\r")[0])


async def load(url: str, make: Callable[[int], bytes], *, count: int, connections: int) -> Answered:
    """Send `count` requests, the n-th made by `make(n)`, over this many connections."""
    numbers = iter(range(count))
    where = urlsplit(url)
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    clients = [_Client(numbers, make) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(lambda it=client: it, where.hostname, where.port)
    await asyncio.gather(*(client.done for client in clients))
    return Answered(
        time.perf_counter() - began,
        dict(sum((client.statuses for client in clients), Counter())),
        [latency for client in clients for latency in client.latencies],
    )
