"""Preflight keeps its word: a finish foreseen early in a long run is when the run ends."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp
import pytest

from tests.e2e import processes
from tests.e2e.processes import Server

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(600)]

PARENTS, A_BATCH = 2_000, 500
EARLY, PRECISION = 0.1, 0.25
LOOK_SECONDS = 0.02
CONFIGURATION = """
[surfaces.brisk]
adapter = "simulator"
concurrency = 20
[surfaces.brisk.options]
latency_ms = 200

[surfaces.slow]
adapter = "simulator"
concurrency = 200
[surfaces.slow.options]
latency_ms = 3000
"""
ENDED = """
SELECT extract(epoch FROM max(p.finished_at))::float8
FROM parent p JOIN api_key k ON k.id = p.key_id WHERE k.name = %(name)s
"""
LONG_AGO = """
UPDATE usage SET ended_at = ended_at - 45, ended_from = ended_from - 45
WHERE key_id = (SELECT id FROM api_key WHERE name = %(name)s) RETURNING key_id
"""


@pytest.fixture(scope="module")
async def server(anyio_backend, tmp_path_factory) -> AsyncIterator[Server]:
    """An API process and a worker; each test has a key of its own."""
    made = processes.configured(tmp_path_factory.mktemp("estimates"), CONFIGURATION)
    async with made.up("--api", "1", "--workers", "1"):
        yield made


class Run(NamedTuple):
    """A run of equal jobs over HTTP, by a key of its own."""

    http: aiohttp.ClientSession
    cells: dict[str, Any]

    async def begin(self, parents: int) -> None:
        """Submit so many, in batches."""
        for first in range(0, parents, A_BATCH):
            items = [{"query": "tea", **self.cells}] * min(A_BATCH, parents - first)
            told = await self._post("/v1/search/batch", {"items": items})
            assert {item["status"] for item in told["items"]} == {"accepted"}

    async def left(self, cells: float) -> None:
        """Return when no more cells than these have not ended."""
        while True:
            async with self.http.get("/v1/async/status") as answer:
                if (await answer.json())["inflight"]["total"] <= cells:
                    return
            await asyncio.sleep(LOOK_SECONDS)

    async def foreseen(self) -> float:
        """When one more job would be done, in epoch seconds."""
        told = await self._post("/v1/async/preflight", {"jobs": 1, **self.cells})
        return time.time() + told["estimatedFinishSeconds"]

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        async with self.http.post(path, json=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


@pytest.mark.parametrize("worked_before", [False, True], ids=["new key", "worked before"])
@pytest.mark.parametrize(
    "cells",
    [
        {"surfaces": ["brisk"], "regions": ["US", "GB"]},
        {"surfaces": ["slow"], "regions": ["US"]},
    ],
    ids=["many short waits", "few long waits"],
)
async def test_the_finish_foreseen_at_a_tenth_is_within_a_quarter(server, cells, worked_before):
    """Whether cells take long or short, and whatever the key did some time before."""
    name = f"{cells['surfaces'][0]} {worked_before}"
    secret = await server.key(name, queue_capacity=PARENTS, concurrency=1_000)
    headers = {"Authorization": f"Bearer {secret}"}
    async with aiohttp.ClientSession(server.url, headers=headers) as http:
        run = Run(http, cells)
        if worked_before:
            await run.begin(30)
            await run.left(0)
            assert len(await server.rows(LONG_AGO, name=name)) == 1
        await run.begin(PARENTS)
        await run.left(PARENTS * len(cells["regions"]) * (1 - EARLY))
        asked = time.time()
        foreseen = await run.foreseen()
        await run.left(0)
    ((ended,),) = await server.rows(ENDED, name=name)
    figures = {"told": foreseen - asked, "true": ended - asked}
    logging.getLogger(__name__).info("%s: %s", name, figures)
    assert abs(foreseen - ended) <= PRECISION * (ended - asked), figures
    assert await server.differences() == []
