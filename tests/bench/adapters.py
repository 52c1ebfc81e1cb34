"""What an adapter adds to its provider's time: a capture against a bare POST of the same bytes.

The provider is a process of its own that answers at once, with 3 KB that cite ten pages, as such
answers are. Captures and bare calls take turns, one at a time, so that whatever the machine does is
done to both.
"""

import asyncio
import json
import re
import statistics
import time

import aiohttp
import uvloop

from orchestrator.surfaces import SurfaceConfig
from tests.bench import stack
from tests.bench.report import Row
from tests.workers.fakes import FAKES, PRICED
from tests.workers.fakes.saying import LABEL, MODEL, Said
from workers.adapters import base, discovery
from workers.egress import Call

PAGES = tuple((f"https://example.com/shoes/{n}", f"Running shoes, page {n}") for n in range(10))
WORDS = (
    "\n- **Shoe {n}** is the one that most testers name: it is light, it lasts, and it costs less"
    " than last year. Those who run on wet roads would rather have the one before, which has a"
    " softer sole and more of a grip, and which many shops still sell at half of its price. "
)
SAID = Said(
    pieces=tuple((WORDS.format(n=number), (page,)) for number, page in enumerate(PAGES)),
    found=PAGES,
    queries=("best running shoes", "running shoes tested"),
)
REPLIES = {
    f"/{name}{fake.path}".encode(): json.dumps(fake.tell(SAID).reply)
    .replace(LABEL, PRICED[name])
    .encode()
    for name, fake in FAKES.items()
}
_PATH = re.compile(rb"POST (\S+)")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


def run(scale: float) -> list[Row]:
    """The median milliseconds that each provider's adapter adds."""
    count = max(5, int(400 * scale))
    with (
        stack.server("tests.bench.adapters") as port,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        added = {name: runner.run(_added(name, port, count)) for name in FAKES}
    return [
        Row(f"{name} adds to its provider's time, p50", max(value, 0.001), "ms", 1.0, most=True)
        for name, value in added.items()
    ]


async def _added(name: str, port: int, count: int) -> float:
    """Median of captures less median of bare calls, in milliseconds."""
    options = {"model": MODEL, "api_key": "key-1", "base_url": f"http://127.0.0.1:{port}/{name}"}
    adapter = discovery.make(SurfaceConfig(name="s", adapter=name, options=options))
    request = base.CaptureRequest(
        child="job_1.s.gb", query="best running shoes", surface="s", country="GB"
    )
    bare, captured = [], []
    async with aiohttp.ClientSession() as session:
        call = _call(adapter, request)
        for _ in range(count + count // 5):
            begun = time.perf_counter()
            async with session.post(call.url, data=call.body, headers=call.headers) as response:
                body = await response.read()
            bare.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            capture = (await base.run(adapter, request, timeout_seconds=30)).capture
            captured.append(time.perf_counter() - begun)
            assert len(body) > len(capture.answer.text) > 2_500
            assert capture.provenance.usage.estimated_cost.amount
            assert len(capture.evidence.sources) == len(PAGES)
    await adapter.close()
    warm = count // 5  # the first ones open connections and fill caches
    return 1000 * (statistics.median(captured[warm:]) - statistics.median(bare[warm:]))


def _call(adapter: base.Adapter, request: base.CaptureRequest) -> Call:
    """What the adapter sends."""
    provider, options = adapter._provider, adapter._options
    return adapter._call(request, provider.body(options, request, provider.place(request)))


class Provider(asyncio.Protocol):
    """Reads each request whole, and answers as its path says."""

    def connection_made(self, transport):
        self._transport = transport
        self._seen = b""

    def data_received(self, data):
        self._seen += data
        while (end := self._seen.find(b"\r\n\r\n")) >= 0:
            whole = end + 4 + int(_LENGTH.search(self._seen, 0, end)[1])
            if len(self._seen) < whole:
                return
            reply = REPLIES[_PATH.match(self._seen)[1]]
            self._seen = self._seen[whole:]
            head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
            self._transport.write(f"{head}{len(reply)}\r\n\r\n".encode() + reply)


async def main():
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
