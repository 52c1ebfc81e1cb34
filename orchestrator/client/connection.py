"""One HTTP connection pool to a server, and its replies as records or as one exception."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgspec

from orchestrator.client.errors import named, not_understood, refused, unreachable
from orchestrator.errors import ConfigError

DEFAULT_URL = "http://127.0.0.1:8080"
T = TypeVar("T")

# What this machine serves to itself is never fetched through a proxy.
_LOOPBACK = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"))


class Connection:
    """What the methods of a client stand on."""

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
        except httpx.InvalidURL:
            raise ConfigError(f"PARALLAX_URL is not a URL such as {DEFAULT_URL}") from None

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

    async def get(self, path: str) -> bytes:
        """The JSON of any read, as the server sent it."""
        return (await self.send("GET", path)).content

    async def typed(self, kind: type[T], method: str, path: str, **request: Any) -> T:
        """The reply as this record; `ApiError` when it is not one."""
        return decoded(kind, await self.send(method, path, **request))

    async def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The reply; `ApiError` for a refusal and for no reply at all."""
        async with self.stream(method, path, **request) as response:
            await response.aread()
        return response

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, **request: Any
    ) -> AsyncGenerator[httpx.Response]:
        """The reply, its body still to come; `ApiError` too when the body is cut off."""
        try:
            async with self._http.stream(method, path, **request) as response:
                if response.is_error or response.is_redirect:
                    await response.aread()
                    raise refused(response)
                yield response
        except httpx.UnsupportedProtocol as error:
            said = named(self.url)
            raise ConfigError(f"PARALLAX_URL {said!r} is not usable: {error}") from None
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from None


def decoded(kind: type[T], response: httpx.Response, part: bytes | None = None) -> T:
    """The reply, or this part of it, as a record; `ApiError` when it is not one."""
    try:
        return msgspec.json.decode(response.content if part is None else part, type=kind)
    except msgspec.DecodeError:
        raise not_understood(response) from None
