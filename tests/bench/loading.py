"""A load client that costs little itself: raw HTTP/1.1 over kept connections, one request at a time each."""

import asyncio
import time
from collections.abc import Callable, Sequence
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


def request(method: str, path: str, secret: str, body: bytes = b"") -> bytes:
    """The bytes of one request."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {secret}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def load(
    url: str, make: Callable[[int], bytes], *, count: int, connections: int
) -> Answered:
    """Send `count` requests, the n-th made by `make(n)`, over this many connections."""
    numbers = iter(range(count))
    statuses: dict[int, int] = {}
    latencies: list[float] = []

    async def client() -> None:
        where = urlsplit(url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        for number in numbers:
            began = time.perf_counter()
            writer.write(make(number))
            status = await _read(reader)
            latencies.append(time.perf_counter() - began)
            statuses[status] = statuses.get(status, 0) + 1
        writer.close()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(connections):
            tasks.create_task(client())
    return Answered(time.perf_counter() - began, statuses, latencies)


async def _read(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    lower = head.lower()
    start = lower.index(b"content-length:") + 15
    await reader.readexactly(int(lower[start : lower.index(b"\r\n", start)]))
    return int(head[9:12])
