"""Posts given up leave nothing behind, whatever they were waiting for."""

import asyncio
import random
from collections import Counter

import pytest

from orchestrator.domain.addresses import networks
from tests.workers.names import asking
from tests.workers.test_egress_leaks import files, settled
from workers.errors import SurfaceError
from workers.outgoing import Outgoing

pytestmark = pytest.mark.anyio

CALLS = 2_000
AT_ONCE = 100
HOSTS = ("127.0.0.1", "good.example", "silent.example")


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Begins an answer, whatever was asked, and never ends it."""
    await asyncio.sleep(random.random() * 0.02)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


def say(name: str) -> list[str] | None:
    return ["127.0.0.1"] if name == "good.example" else None


@pytest.mark.timeout(300)
async def test_two_thousand_posts_given_up_leak_nothing(listen):
    """Canceled or timed out while looking up, connecting, sending, or reading at any moment."""
    port = await listen(drip)
    ends: Counter[str] = Counter()
    gate = asyncio.Semaphore(AT_ONCE)
    before_files, before_tasks = files(), len(asyncio.all_tasks())
    async with asking(say) as resolver:
        one = Outgoing(networks("127.0.0.0/8"), resolver=resolver)

        async def post(number: int, seconds: float) -> None:
            body = b"x" * (2_000_000 if number % 7 == 0 else 10)
            url = f"http://{HOSTS[number % 3]}:{port}/"
            await one.post(url, headers={}, body=body, seconds=seconds, keep_bytes=1_000_000)

        async def timed_out(number: int, after: float) -> None:
            with pytest.raises(SurfaceError) as caught:
                await post(number, after)
            ends[caught.value.code] += 1

        async def canceled(number: int, after: float) -> None:
            call = asyncio.ensure_future(post(number, 30))
            await asyncio.sleep(after)
            call.cancel()
            await asyncio.wait([call])
            ends["canceled" if call.cancelled() else "answered"] += 1

        async def given_up(number: int) -> None:
            async with gate:
                give_up = timed_out if number % 2 else canceled
                await give_up(number, 0.001 + random.random() * 0.03)

        await asyncio.gather(*(given_up(number) for number in range(CALLS)))
        await one.close()
    assert ends == {"UPSTREAM_TIMEOUT": CALLS // 2, "canceled": CALLS // 2}
    assert await settled(lambda: len(asyncio.all_tasks()), before_tasks) <= before_tasks
    assert await settled(files, before_files) <= before_files
