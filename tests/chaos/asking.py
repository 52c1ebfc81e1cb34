"""Asking as a careful client does: again under the same idempotency key, when the server says."""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any, NamedTuple, Self

import aiohttp
from aiohttp import ClientSession

AGAIN_SECONDS = 0.2
"""After a connection that broke."""
REQUEST_SECONDS = 40
REFUSED, BUSY = 429, frozenset({429, 503})


class GivenUpError(Exception):
    """There was no room for a submission before all was over: nothing of it is anywhere."""


class Reply(NamedTuple):
    """What was answered; `again` is in how many seconds to ask again."""

    status: int
    job: str
    body: dict[str, Any]
    again: float | None


class Asking:
    """The connections of many clients, what they were promised, and what they met.

    `acknowledged` has the id of each job that was answered 202 or 200, and the idempotency key it
    was asked under. `over` is set when nothing new is to be asked for.
    """

    def __init__(self, url: str, secret: str) -> None:
        self.acknowledged: dict[str, str] = {}
        self.broken: list[str] = []
        self.met: Counter[str] = Counter()
        self.over = asyncio.Event()
        self._where = url, {"Authorization": f"Bearer {secret}"}

    async def __aenter__(self) -> Self:
        url, headers = self._where
        every = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        self._session = ClientSession(url, connector=every, headers=headers, timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def read(self, path: str) -> dict[str, Any]:
        """What is there, however often that takes."""
        return (await self._ask("GET", path)).body

    async def submit(self, key: str, body: dict[str, Any], **headers: str) -> Reply:
        """The acknowledgement, however often that takes."""
        headers |= {"Idempotency-Key": key}
        reply = await self._ask("POST", "/v1/search", json=body, headers=headers)
        self.acknowledged[reply.job] = key
        return reply

    async def _ask(self, method: str, path: str, **request: Any) -> Reply:
        while True:
            try:
                reply = await self._once(method, path, **request)
            except (aiohttp.ClientError, TimeoutError) as error:
                self.met[type(error).__name__] += 1
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if reply.again is None:
                return reply
            await self._rest(reply)

    async def _rest(self, reply: Reply) -> None:
        """As long as the server says; without room nobody waits for the end of all."""
        if reply.status != REFUSED:
            await asyncio.sleep(reply.again or AGAIN_SECONDS)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(reply.again):
                await self.over.wait()
            raise GivenUpError

    async def _once(self, method: str, path: str, **request: Any) -> Reply:
        async with self._session.request(method, path, **request) as said:
            body = await said.json(content_type=None)
            job = said.headers.get("Location", "").removeprefix("/v1/jobs/")
            again = None
            if said.status in BUSY:
                self.met[f"{said.status} {body['error']['code']}"] += 1
                again = float(said.headers["Retry-After"])
            else:
                assert said.ok, f"{method} {path}: {said.status} {body}"
            return Reply(said.status, job, body, again)
