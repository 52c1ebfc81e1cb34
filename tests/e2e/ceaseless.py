"""Clients of every kind who ask again and again, and what each of them met."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

import aiohttp
import httpx

from tests.e2e.processes import Server

PATIENCE_SECONDS = 60
AGAIN_SECONDS = 0.05
"""After which one who was told 503 asks again."""


class Said(NamedTuple):
    """An answer; `job` is the path of the job it speaks of, if it does."""

    status: int
    job: str | None
    body: dict[str, Any]


Ask = Callable[..., Awaitable[Said]]
"""Send a request: method, path and perhaps a body."""


@asynccontextmanager
async def by_httpx(url: str, headers: dict[str, str]) -> AsyncIterator[Ask]:
    """Asks over a connection that httpx keeps alive."""
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:

        async def ask(method: str, path: str, body: dict[str, Any] | None = None) -> Said:
            answer = await client.request(method, path, json=body)
            return Said(answer.status_code, answer.headers.get("Location"), answer.json())

        yield ask


@asynccontextmanager
async def by_aiohttp(url: str, headers: dict[str, str]) -> AsyncIterator[Ask]:
    """Asks over a connection that aiohttp keeps alive."""
    async with aiohttp.ClientSession(url, headers=headers) as session:

        async def ask(method: str, path: str, body: dict[str, Any] | None = None) -> Said:
            async with session.request(method, path, json=body) as answer:
                told = await answer.json()
                return Said(answer.status, answer.headers.get("Location"), told)

        yield ask


KINDS = (
    ("httpx", by_httpx, "/v1/search"),
    ("aiohttp", by_aiohttp, "/v1/search"),
    ("sync by httpx", by_httpx, "/v1/search?mode=sync"),
    ("sync by aiohttp", by_aiohttp, "/v1/search/site"),
)


class Ceaseless:
    """Some of each kind. Each asks, waits for the end of what was accepted, and asks again."""

    def __init__(self, server: Server, secret: str, *, each: int) -> None:
        self._url, self._each = server.url, each
        self._headers = {"Authorization": f"Bearer {secret}"}
        self.jobs: dict[str, str] = {}
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.failures: list[tuple[str, Exception]] = []
        self._stopping = False

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self._go_on(f"{kind} {n}", by, path))
            for kind, by, path in KINDS
            for n in range(self._each)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*self._tasks)

    async def _go_on(self, name: str, by: Any, path: str) -> None:
        turn = 0
        async with by(self._url, self._headers) as ask:
            while not self._stopping:
                turn += 1
                try:
                    await self._once(f"{name} {turn}", ask, path)
                except (aiohttp.ClientError, httpx.HTTPError) as error:
                    self.failures.append((name, error))

    async def _once(self, query: str, ask: Ask, path: str) -> None:
        on_surface = path.endswith("/site")
        body = {"prompt": query} if on_surface else {"query": query, "surfaces": ["site"]}
        said = await self._said(ask, "POST", path, body)
        if (where := said.job) is None:
            return
        self.jobs[query] = where.removeprefix("/v1/jobs/")
        while not said.body.get("job", {}).get("completedAt"):
            said = await self._said(ask, "GET", f"{where}?wait=5")

    async def _said(self, ask: Ask, method: str, *asked: Any) -> Said:
        said = await ask(method, *asked)
        self.statuses[method, said.status] += 1
        if said.status == 503:
            await asyncio.sleep(AGAIN_SECONDS)
        return said
