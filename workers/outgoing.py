"""Calls to URLs that clients chose: one guarded session, by which everything of theirs goes out."""

import asyncio
import io
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from cachetools import LRUCache
from yarl import URL

from orchestrator.domain import urls
from orchestrator.domain.addresses import Network
from orchestrator.surfaces import Discreet
from workers import guard
from workers.egress_errors import EXPECTED, translated

MOST_HEADERS = 100
MOST_HEADER_CHARACTERS = 16 * 1024
_MOST_URLS = 4096
_WRITTEN_AT_ONCE = 1024 * 1024  # aiohttp writes a larger body in pieces only if it is a file
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)  # there is one for all
_SENT_ALWAYS = {"User-Agent": "parallax-orchestrator", "Accept-Encoding": "identity"}


class Reply(Discreet, frozen=True, kw_only=True):
    """A reply of any status; header names in lower case, the body as it came, as far as kept."""

    status: int
    headers: dict[str, str]
    body: bytes
    truncated: bool

    def _shown(self) -> dict[str, Any]:
        return {"status": self.status, "truncated": self.truncated}


class Outgoing:
    """Posts to what clients chose, any number of times at once; the first call opens the session.

    `resolver` is closed with it; without one names are looked up by the process's asynchronous
    resolver, for which no name whose servers are silent delays another.
    """

    def __init__(
        self,
        allowed: Sequence[Network],
        *,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = tuple(allowed)
        self._resolver = resolver
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._known: LRUCache[str, URL] = LRUCache(_MOST_URLS)

    async def post(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        seconds: float,
        keep_bytes: int,
        whole: bool = True,
    ) -> Reply:
        """The reply, whatever its status, within so many seconds in all; or `SurfaceError`.

        No redirect is followed. Of a body longer than `keep_bytes` the rest is not read. Unless the
        reply is to be `whole` its status is enough, whatever becomes of its body.
        """
        checked = self._checked(url)
        session = self._session or self._opened()
        told: Reply | None = None
        try:
            async with (
                asyncio.timeout(seconds),
                session.post(
                    checked, headers=headers, data=_payload(body), allow_redirects=False
                ) as response,
            ):
                kept = _kept(response.headers)
                told = Reply(status=response.status, headers=kept, body=b"", truncated=True)
                return await _read(response, keep_bytes)
        except EXPECTED as error:
            if told is not None and not whole:
                return told
            raise translated(error) from None

    async def close(self) -> None:
        """Closes every connection, and the resolver."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        resolver, self._resolver = self._resolver, None
        if resolver is not None:
            await resolver.close()

    def _checked(self, url: str) -> URL:
        """Checked now: a URL may be older than the settings."""
        if (known := self._known.get(url)) is None:
            guard.check_url(url, self._allowed)
            known = self._known[url] = URL(urls.normal(url), encoded=True)
        return known

    def _opened(self) -> aiohttp.ClientSession:
        """A session without cookies (one client's are not another's), proxies and environment."""
        self._resolver = self._resolver or aiohttp.AsyncResolver()
        self._session = aiohttp.ClientSession(
            connector=guard.connector(self._allowed, resolver=self._resolver, tls=self._tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_SENT_ALWAYS,
            timeout=_NO_TIMEOUT,
            auto_decompress=False,
        )
        return self._session


def _payload(body: bytes) -> bytes | io.BytesIO:
    return body if len(body) <= _WRITTEN_AT_ONCE else io.BytesIO(body)


async def _read(response: aiohttp.ClientResponse, keep_bytes: int) -> Reply:
    """As much of the body as is kept; a connection with more on it is not used again."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > keep_bytes:
            response.close()
            break
    return Reply(
        status=response.status,
        headers=_kept(response.headers),
        body=bytes(body[:keep_bytes]),
        truncated=len(body) > keep_bytes,
    )


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    """The first headers, as far as there is room for them; values of one name are joined."""
    kept: dict[str, str] = {}
    left = MOST_HEADER_CHARACTERS
    for name, text in headers.items():
        left -= len(name) + len(text)
        if left < 0 or len(kept) == MOST_HEADERS:
            break
        lower, value = name.lower(), _storable(text)
        kept[lower] = f"{kept[lower]}, {value}" if lower in kept else value
    return kept


def _storable(text: str) -> str:
    """The text of a header; bytes of it that are not UTF-8 became what no database keeps."""
    if text.isascii():
        return text
    return text.encode(errors="surrogateescape").decode(errors="replace")
