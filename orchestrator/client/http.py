"""The client itself: thin methods over one HTTP connection pool."""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import anyio
import httpx
import msgspec

from orchestrator.client.errors import ApiError, not_understood, refused, unreachable
from orchestrator.client.pace import pause
from orchestrator.client.records import Health, ResultsPage, Surfaces
from orchestrator.domain.documents import Accepted, Envelope, JobRead
from orchestrator.domain.snapshot import Snapshot
from orchestrator.errors import ConfigError

DEFAULT_URL = "http://127.0.0.1:8080"
PAGE = 100
LIVE = frozenset({"queued", "processing"})
T = TypeVar("T")

# What this machine serves to itself is never fetched through a proxy.
_LOOPBACK = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"))


class Client:
    """An async client; use it in `async with`. Every method may raise `ApiError`.

    `transport` replaces the network, for instance by a test's; `timeout` is in seconds a request.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.url = (url or os.environ.get("PARALLAX_URL") or DEFAULT_URL).rstrip("/")
        key = key or os.environ.get("PARALLAX_API_KEY")
        try:
            self._http = httpx.AsyncClient(
                base_url=self.url,
                headers={"Authorization": f"Bearer {key}"} if key else {},
                transport=transport,
                mounts=None if transport else _LOOPBACK,
                timeout=timeout,
            )
        except httpx.InvalidURL as error:
            raise ConfigError(f"PARALLAX_URL {self.url!r} is not a URL: {error}") from None

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

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
    ) -> Accepted:
        """Submit a parent: `query` to every surface in every region; stored when this returns.

        A region is a country (`"US"`) or `{country, city?, language?}`; without any the server's
        default country is used. A full queue is an `ApiError` with status 429 and `retry_after`.
        """
        body = {
            "query": query,
            "surfaces": list(surfaces),
            "regions": list(regions) or None,
            "priority": priority,
            "maxAttempts": max_attempts,
            "options": options,
            "metadata": metadata,
        }
        said = {name: value for name, value in body.items() if value is not None}
        return await self._typed(Accepted, "POST", "/v1/search", json=said)

    async def job(self, job: str) -> JobRead:
        """A parent and its children."""
        return await self._typed(JobRead, "GET", _path(job))

    async def envelope(self, child: str) -> Envelope:
        """The Envelope of one child, in whatever state it is."""
        return await self._typed(Envelope, "GET", _path(child))

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
            page = await self._typed(ResultsPage, "GET", f"{_path(job)}/results", params=params)
            for raw in page.results:
                yield raw
            cursor = page.next_cursor

    async def status(self) -> Snapshot:
        """The snapshot of the key's headroom and work."""
        return await self._typed(Snapshot, "GET", "/v1/async/status")

    async def surfaces(self) -> Surfaces:
        """What can be asked, from where, and who serves it."""
        return await self._typed(Surfaces, "GET", "/v1/surfaces")

    async def health(self, *, ready: bool = False) -> Health:
        """Whether the server and its database are well; `ready` also wants a live worker."""
        return await self._typed(
            Health, "GET", "/v1/health", params={"ready": "1"} if ready else {}
        )

    async def get(self, path: str) -> bytes:
        """The JSON of any read, as the server sent it."""
        return (await self._send("GET", path)).content

    async def _typed(self, kind: type[T], method: str, path: str, **request: Any) -> T:
        response = await self._send(method, path, **request)
        try:
            return msgspec.json.decode(response.content, type=kind)
        except msgspec.DecodeError:
            raise not_understood(response) from None

    async def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            response = await self._http.request(method, path, **request)
        except httpx.UnsupportedProtocol as error:
            raise ConfigError(f"PARALLAX_URL {self.url!r} is not usable: {error}") from None
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from None
        if response.is_error or response.is_redirect:
            raise refused(response)
        return response


def _path(job: str) -> str:
    return f"/v1/jobs/{quote(job, safe='')}"
