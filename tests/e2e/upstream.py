"""An upstream that remembers what it was asked."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

PATIENCE_SECONDS = 60


class Upstream:
    """A surface on loopback. It logs each call; it answers queries that begin with `held` late."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self.url = ""
        self._called = asyncio.Condition()
        self._released: set[str] = set()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        query, country = request.query["q"], request.query["country"]
        async with self._called:
            self.calls[query, country] += 1
            self._called.notify_all()
            await self._called.wait_for(
                lambda: not query.startswith("held") or query in self._released
            )
        return web.json_response({"answer": f"{query} in {country}"})

    def of(self, query: str) -> dict[str, int]:
        """How often a query was asked, by country."""
        return {country: n for (asked, country), n in self.calls.items() if asked == query}

    async def asked(self, query: str, times: int) -> None:
        """Wait until a query was asked this often over all countries."""
        await self._until(lambda: sum(self.of(query).values()) >= times)

    async def release(self, *queries: str) -> None:
        """Answer all who wait for these queries, and whoever asks them from now on."""
        self._released.update(queries)
        async with self._called:
            self._called.notify_all()

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self._called:
            await self._called.wait_for(condition)


@asynccontextmanager
async def serving() -> AsyncIterator[Upstream]:
    made = Upstream()
    runner = web.ServerRunner(web.Server(made.answer), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield made
    finally:
        await runner.cleanup()
