"""The client itself: thin methods over one connection."""

import math
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import msgspec

from orchestrator.client.connection import Connection
from orchestrator.client.errors import ApiError
from orchestrator.client.pace import pause
from orchestrator.client.records import Health, ResultsPage, Surfaces
from orchestrator.domain.documents import Accepted, Envelope, JobRead, SyncResult
from orchestrator.domain.snapshot import Snapshot

PAGE = 100
LIVE = frozenset({"queued", "processing"})


class Client(Connection):
    """An async client; use it in `async with`. Every method may raise `ApiError`.

    `transport` replaces the network, for instance by a test's; `timeout` is in seconds a request.
    """

    async def submit(
        self,
        query: str,
        *,
        surfaces: Sequence[str],
        regions: Sequence[str | Mapping[str, str]] = (),
        priority: int | None = None,
        max_attempts: int | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Submit a parent: `query` to every surface in every region; stored when this returns.

        A region is a country (`"US"`) or `{country, city?, language?}`; without any the server's
        default country is used. The same request under the same `idempotency_key` is the same job.
        A full queue is an `ApiError` with status 429 and `retry_after`.
        """
        body = {
            "query": query,
            "surfaces": list(surfaces),
            "regions": list(regions) or None,
            "priority": priority,
            "maxAttempts": max_attempts,
            "options": options,
            "metadata": metadata,
            "idempotencyKey": idempotency_key,
        }
        said = {name: value for name, value in body.items() if value is not None}
        return await self.typed(Accepted, "POST", "/v1/search", json=said)

    async def ask(
        self,
        query: str,
        *,
        surfaces: Sequence[str],
        regions: Sequence[str | Mapping[str, str]] = (),
        options: Mapping[str, Mapping[str, Any]] | None = None,
        idempotency_key: str | None = None,
        seconds: float = 300.0,
    ) -> list[Envelope]:
        """Ask and wait: the Envelopes of all cells, in their order, on the key's sync budget.

        A lost connection, a server that restarts or is busy costs time and never a second job: the
        request is sent again under one idempotency key, made here unless given. Raises `ApiError`
        when there is no job once these seconds are over, and at once for what no patience mends;
        cells that have not ended by then come as they are.
        """
        body = {
            "query": query,
            "surfaces": list(surfaces),
            "regions": list(regions) or None,
            "options": options,
            "idempotencyKey": idempotency_key or secrets.token_urlsafe(16),
        }
        said = {name: value for name, value in body.items() if value is not None}
        until = time.monotonic() + seconds
        while True:
            left = max(1, math.floor(until - time.monotonic()))
            try:
                return await self._answer(said, left)
            except ApiError as error:
                rest = 1.0 if error.status is None else error.retry_after
                if rest is None or time.monotonic() + rest > until:
                    raise
            await anyio.sleep(rest)

    async def _answer(self, body: dict[str, Any], seconds: int) -> list[Envelope]:
        patience = httpx.Timeout(30.0, read=seconds + 30.0)
        headers = {"Prefer": f"wait={seconds}"}
        reply = await self.send("POST", "/v1/search", json=body, headers=headers, timeout=patience)
        if reply.status_code != HTTPStatus.OK:
            job = reply.headers["Location"].rpartition("/")[2]
            with anyio.move_on_after(seconds):
                await self.wait(job)
            return [envelope async for envelope in self.results(job)]
        if len(body["surfaces"]) * len(body.get("regions", [""])) == 1:
            return [msgspec.json.decode(reply.content, type=Envelope)]
        return list(msgspec.json.decode(reply.content, type=SyncResult).children)

    async def job(self, job: str) -> JobRead:
        """A parent and its children."""
        return await self.typed(JobRead, "GET", _path(job))

    async def envelope(self, child: str) -> Envelope:
        """The Envelope of one child, in whatever state it is."""
        return await self.typed(Envelope, "GET", _path(child))

    async def watch(self, job: str) -> AsyncIterator[JobRead]:
        """The parent as it is now, then each change of it; the last one is the ended parent.

        Polls at a sane pace, and waits as long as the server asks when it is busy.
        """
        seen: JobRead | None = None
        seconds = 0.0
        while True:
            try:
                read = await self.job(job)
            except ApiError as error:
                if error.status not in {429, 503} or error.retry_after is None:
                    raise
                await anyio.sleep(error.retry_after)
                continue
            changed = read != seen
            if changed:
                yield read
            if read.job.status not in LIVE:
                return
            seen, seconds = read, pause(seconds, changed=changed)
            await anyio.sleep(seconds)

    async def wait(self, job: str) -> JobRead:
        """The parent once it has ended."""
        async for read in self.watch(job):
            ended = read
        return ended

    async def results(self, job: str) -> AsyncIterator[Envelope]:
        """The Envelopes of a parent's cells in their order, ended or not, fetched page by page."""
        async for raw in self.raw_results(job):
            yield msgspec.json.decode(raw, type=Envelope)

    async def raw_results(self, job: str) -> AsyncIterator[msgspec.Raw]:
        """The same Envelopes as the JSON the server sent."""
        cursor: str | None = ""
        while cursor is not None:
            params = {"limit": PAGE} | ({"cursor": cursor} if cursor else {})
            page = await self.typed(ResultsPage, "GET", f"{_path(job)}/results", params=params)
            for raw in page.results:
                yield raw
            cursor = page.next_cursor

    async def status(self) -> Snapshot:
        """The snapshot of the key's headroom and work."""
        return await self.typed(Snapshot, "GET", "/v1/async/status")

    async def surfaces(self) -> Surfaces:
        """What can be asked, from where, and who serves it."""
        return await self.typed(Surfaces, "GET", "/v1/surfaces")

    async def health(self, *, ready: bool = False) -> Health:
        """Whether the server and its database are well; `ready` also wants a live worker."""
        return await self.typed(Health, "GET", "/v1/health", params={"ready": "1"} if ready else {})


def _path(job: str) -> str:
    return f"/v1/jobs/{quote(job, safe='')}"
