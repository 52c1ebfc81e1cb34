import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web

from orchestrator.surfaces import RegionConfig
from workers.egress import Call, Egress
from workers.errors import SurfaceError

pytestmark = pytest.mark.anyio

CALLS = 10_000
AT_ONCE = 200


def files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def settled(count, expected: int) -> int:
    """The count, once it has come down to what is expected or time is up."""
    for _ in range(200):
        if count() <= expected:
            break
        await asyncio.sleep(0.02)
    return count()


@pytest.mark.timeout(300)
async def test_ten_thousand_calls_given_up_leak_nothing(serve):
    """Calls canceled or timed out at any moment leave no task, file or connection behind."""
    open_requests = 0

    async def handler(request):
        nonlocal open_requests
        open_requests += 1
        try:
            response = web.StreamResponse()
            await asyncio.sleep(random.random() * 0.02)
            await response.prepare(request)
            while True:  # who is lost sight of stays for ever
                await response.write(b"x" * 100)
                await asyncio.sleep(random.random() * 0.01)
        finally:
            open_requests -= 1

    url = await serve(handler)
    way_out = Egress(regions={})
    with pytest.raises(SurfaceError):
        await way_out.fetch("US", Call(method="GET", url=url, total_seconds=0.001))
    before_files = await settled(files, files())
    before_tasks = len(asyncio.all_tasks())
    gate = asyncio.Semaphore(AT_ONCE)
    ends: Counter[str] = Counter()

    async def timed_out(after: float) -> None:
        try:
            await way_out.fetch("US", Call(method="GET", url=url, total_seconds=after))
            ends["answered"] += 1
        except SurfaceError as error:
            ends[error.code] += 1

    async def canceled(after: float) -> None:
        call = asyncio.ensure_future(way_out.fetch("US", Call(method="GET", url=url)))
        await asyncio.sleep(after)
        call.cancel()
        await asyncio.wait([call])
        ends["canceled" if call.cancelled() else "answered"] += 1

    async def one(number: int) -> None:
        async with gate:
            await (timed_out if number % 2 else canceled)(random.random() * 0.03)

    await asyncio.gather(*(one(number) for number in range(CALLS)))
    assert ends == {"UPSTREAM_TIMEOUT": CALLS // 2, "canceled": CALLS // 2}
    assert await settled(lambda: len(asyncio.all_tasks()), before_tasks) <= before_tasks
    assert await settled(files, before_files) <= before_files
    assert await settled(lambda: open_requests, 0) == 0
    await way_out.close()


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_calls_given_up_at_a_silent_proxy_leak_nothing(listen, scheme):
    """A proxy that accepts and then says nothing keeps neither file nor task of ours."""

    async def silent(reader, writer):
        await reader.read()

    port = await listen(silent)
    way_out = Egress(regions={"US": RegionConfig(proxy=f"{scheme}://127.0.0.1:{port}")})
    before_files, before_tasks = files(), len(asyncio.all_tasks())

    async def one() -> str:
        call = Call(method="GET", url="https://upstream.invalid/", total_seconds=0.05)
        with pytest.raises(SurfaceError) as caught:
            await way_out.fetch("US", call)
        return caught.value.code

    assert set(await asyncio.gather(*(one() for _ in range(200)))) == {"UPSTREAM_TIMEOUT"}
    await way_out.close()
    assert await settled(files, before_files) <= before_files
    assert await settled(lambda: len(asyncio.all_tasks()), before_tasks) <= before_tasks
