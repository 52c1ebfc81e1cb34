"""The process that forks the clients of `test_torture`, as seen from the test."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.processes import REPOSITORY


class Nursery:
    """The forking process, and everything its clients have told."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.clients: list[int] = []
        self.told: list[dict[str, Any]] = []
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def listen(self) -> None:
        """Until the last process that could say something is gone."""
        async for line in self._process.stdout:
            told = json.loads(line)
            if "started" in told or "killed" in told:
                self._answers.put_nowait(told)
            else:
                self.told.append(told)

    async def start(self, seed: int) -> None:
        self.clients.append((await self._order("start", seed))["started"])

    async def kill(self, pid: int) -> None:
        self.clients.remove(pid)
        assert (await self._order("kill", pid))["was_alive"]

    async def _order(self, order: str, number: int) -> dict[str, Any]:
        self._process.stdin.write(f"{order} {number}\n".encode())
        return await self._answers.get()

    def all_told(self, what: str) -> list[Any]:
        return [told[what] for told in self.told if what in told]


@asynccontextmanager
async def nursery(url: str) -> AsyncIterator[Nursery]:
    command = (sys.executable, "-m", "tests.stateful.torture", url)
    process = await create_subprocess_exec(*command, cwd=REPOSITORY, stdin=PIPE, stdout=PIPE)
    made = Nursery(process)
    listening = asyncio.create_task(made.listen())
    try:
        yield made
    finally:
        process.stdin.close()
        await listening
        await process.wait()
