"""Clients that never give up: each asks for one job after the other and waits until it has ended.

What they were answered is what the server is held to.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Self

from tests.chaos.asking import Asking, GivenUpError
from tests.chaos.receiver import SECRET

SURFACE, COUNTRIES = "site", ("US", "GB")
LOOK_SECONDS = 1.0
"""Between two looks at a job."""
WAIT_SECONDS = 20
PATIENCE_SECONDS = 60
LIVE = frozenset({"queued", "processing"})


class Load(Asking):
    """Clients of async jobs of two cells, and callers of sync ones of one; use it in `async with`.

    Leaving waits until everybody's last job has ended, as far as our patience goes. `told` is what
    was read of jobs that had ended: the status, and how many cells were completed. Whatever an API
    must not answer is `broken`. Of every end the `webhook` is told.
    """

    def __init__(self, url: str, secret: str, name: str, *, webhook: str) -> None:
        super().__init__(url, secret)
        self._webhook = {"url": webhook, "secret": SECRET}
        self.told: dict[str, tuple[str, int]] = {}
        self._name = name
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return await super().__aenter__()

    async def __aexit__(self, *_: object) -> None:
        self.over.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=PATIENCE_SECONDS)
            for task in late:
                task.cancel()
            ends = await asyncio.gather(*self._tasks, return_exceptions=True)
            self.broken += [repr(end) for end in ends if isinstance(end, Exception)]
        await super().__aexit__()

    def join(self, *, clients: int = 0, callers: int = 0) -> asyncio.Event:
        """More of each; they leave when this is set, or at the end."""
        leaving = asyncio.Event()
        for ask in [self._submit] * clients + [self._call] * callers:
            name = f"{self._name}: {len(self._tasks)}"
            self._tasks.append(asyncio.create_task(self._client(name, ask, leaving)))
        return leaving

    async def _client(
        self, name: str, ask: Callable[[str], Awaitable[None]], leaving: asyncio.Event
    ) -> None:
        turn = 0
        with suppress(GivenUpError):
            while not (self.over.is_set() or leaving.is_set()):
                turn += 1
                await ask(f"{name} {turn}")

    async def _submit(self, query: str) -> None:
        body = self._body(query, COUNTRIES)
        await self._until_ended((await self.submit(query, body)).job)

    async def _call(self, query: str) -> None:
        body = self._body(query, COUNTRIES[:1])
        reply = await self.submit(query, body, Prefer=f"wait={WAIT_SECONDS}")
        if reply.status == 200:
            status = reply.body["job"]["status"]
            self._heard(reply.job, status, int(status == "completed"))
        else:
            await self._until_ended(reply.job)

    def _body(self, query: str, regions: Sequence[str]) -> dict[str, Any]:
        asked = {"query": query, "surfaces": [SURFACE], "regions": regions}
        return {**asked, "webhook": self._webhook}

    async def _until_ended(self, job: str) -> None:
        status = "queued"
        while status in LIVE:
            await asyncio.sleep(LOOK_SECONDS)
            read = (await self.read(f"/v1/jobs/{job}"))["job"]
            status = read["status"]
        self._heard(job, status, read["counts"]["completed"])

    def _heard(self, job: str, *ended: Any) -> None:
        if self.told.setdefault(job, ended) != ended:
            self.broken.append(f"{job} was told {self.told[job]}, then {ended}")
