"""The way out: one HTTP session per lane, its proxy, and the bounds on every reply.

aiohttp is used as it is: a call costs 180 µs of a core so, 640 µs through httpx on top of it, and
one process is to make 2,000 captures a second. A SOCKS proxy is a connector of the session, since
aiohttp's own proxies speak plain HTTP.
"""

import asyncio
import re
import ssl
from typing import Any

import aiohttp
import msgspec
from aiohttp_socks import ProxyConnector
from python_socks import parse_proxy_url
from yarl import URL

from orchestrator.surfaces import Discreet, RegionConfig
from workers.decoding import ACCEPT_ENCODING, decoder
from workers.egress_errors import EXPECTED, refused, translated
from workers.errors import SurfaceError

MAX_REDIRECTS = 5
MAX_BYTES = 8 * 1024 * 1024
_KEEP_ALIVE_SECONDS = 15.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SENT_ANYWHERE = frozenset({"accept", "accept-language", "user-agent"})
_SENT_ALWAYS = {"User-Agent": "parallax-orchestrator", "Accept-Encoding": ACCEPT_ENCODING}
_SOCKS_BY_NAME = re.compile(r"^(socks[45])[ah]:")


class Call(Discreet, frozen=True, kw_only=True):
    """One HTTP call: header names in lower case, the URL percent-encoded, as it is to be sent."""

    method: str
    url: str
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: bytes | None = None
    connect_seconds: float = 10.0
    read_seconds: float = 30.0
    total_seconds: float = 30.0
    max_bytes: int = MAX_BYTES

    def _shown(self) -> dict[str, Any]:
        return {"method": self.method, "headers": tuple(self.headers)}


class Reply(Discreet, frozen=True, kw_only=True):
    """A reply with a status of 2xx, its body whole and decoded; `url` is where it came from."""

    status: int
    url: str
    content_type: str
    body: bytes

    def _shown(self) -> dict[str, Any]:
        return {"status": self.status, "content_type": self.content_type}


class Egress:
    """The sessions of one surface, a lane each, made when first used."""

    def __init__(self, *, regions: dict[str, RegionConfig]) -> None:
        self._regions = regions
        self._sessions: dict[str, tuple[aiohttp.ClientSession, str | None]] = {}
        self._tls: ssl.SSLContext | None = None

    async def fetch(self, country: str, call: Call) -> Reply:
        """The reply, or `SurfaceError`. Canceled or timed out it leaves no connection behind."""
        session, proxy = self._session(country)
        try:
            async with asyncio.timeout(call.total_seconds):
                return await _fetch(session, proxy, call)
        except EXPECTED as error:
            raise translated(error) from None

    async def close(self) -> None:
        """Closes every connection."""
        sessions, self._sessions = self._sessions, {}
        for session, _ in sessions.values():
            await session.close()

    def _session(self, country: str) -> tuple[aiohttp.ClientSession, str | None]:
        """The lane's session, and the HTTP proxy to name with each of its calls."""
        if (lane := self._sessions.get(country)) is None:
            self._tls = self._tls or ssl.create_default_context()
            proxy = self._regions.get(country, RegionConfig()).proxy
            socks = proxy if proxy and proxy.startswith("socks") else None
            lane = _session(socks, self._tls), None if socks else proxy
            self._sessions[country] = lane
        return lane


async def _fetch(session: aiohttp.ClientSession, proxy: str | None, call: Call) -> Reply:
    """Follows redirects by hand: to another origin neither our headers nor our body go along."""
    for _ in range(MAX_REDIRECTS + 1):
        async with session.request(
            call.method,
            URL(call.url, encoded=True),
            headers=call.headers,
            data=call.body,
            allow_redirects=False,
            proxy=proxy,
            timeout=aiohttp.ClientTimeout(
                sock_connect=call.connect_seconds, sock_read=call.read_seconds
            ),
        ) as response:
            location = response.headers.get("Location")
            if location is None or response.status not in _REDIRECTS:
                return await _read(response, call)
            call = _redirected(call, response.status, location)
    raise _bad(f"the upstream redirected more than {MAX_REDIRECTS} times")


def _redirected(call: Call, status: int, location: str) -> Call:
    """The call that follows a redirect."""
    before = URL(call.url, encoded=True)
    try:
        after = before.join(URL(location)).with_fragment(None)
        sound = after.scheme in {"http", "https"} and after.host and after.user is None
    except ValueError:
        sound = False
    if not sound:
        raise _bad("the upstream redirected to an address that nobody can call")
    changes: dict[str, Any] = {"url": str(after)}
    headers = call.headers
    if status == 303 or (status in {301, 302} and call.method == "POST"):  # noqa: PLR2004 - HTTP's
        changes |= {"method": "GET", "body": None}
        headers = {k: v for k, v in headers.items() if k != "content-type"}
    if before.origin() != after.origin():
        if changes.get("body", call.body) is not None:
            raise _bad("the upstream redirected the body of our request to another origin")
        headers = {k: v for k, v in headers.items() if k in _SENT_ANYWHERE}
    return msgspec.structs.replace(call, headers=headers, **changes)


async def _read(response: aiohttp.ClientResponse, call: Call) -> Reply:
    """The whole body, never holding more than `max_bytes` of it and one piece."""
    headers = response.headers
    if not response.ok or response.status >= 300:  # noqa: PLR2004 - HTTP's
        raise refused(response.status, headers.get("Retry-After"), headers.get("Date"))
    if (response.content_length or 0) > call.max_bytes:
        raise _too_large(call.max_bytes)
    coding = decoder(headers.get("Content-Encoding", ""))
    body = bytearray()
    async for chunk in response.content.iter_any():
        for piece in coding.feed(chunk):
            body += piece
            if len(body) > call.max_bytes:
                raise _too_large(call.max_bytes)
    coding.end()
    return Reply(
        status=response.status,
        url=call.url,
        content_type=headers.get("Content-Type", ""),
        body=bytes(body),
    )


def _session(socks: str | None, tls: ssl.SSLContext) -> aiohttp.ClientSession:
    """A session that keeps no cookies (one child's are not another's) and reads no environment."""
    return aiohttp.ClientSession(
        connector=_connector(socks, tls),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=_SENT_ALWAYS,
        auto_decompress=False,
    )


def _connector(socks: str | None, tls: ssl.SSLContext) -> aiohttp.TCPConnector:
    """Connections without a limit of their own: the lane's concurrency is the limit."""
    if socks is None:
        return aiohttp.TCPConnector(
            resolver=aiohttp.ThreadedResolver(),  # an operator's upstreams have the system's names
            ssl=tls,
            limit=0,
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
        )
    kind, host, port, user, password = parse_proxy_url(_SOCKS_BY_NAME.sub(r"\1:", socks))
    return ProxyConnector(
        proxy_type=kind,
        host=host,
        port=port,
        username=user,
        password=password,
        rdns=True,  # names are looked up where the proxy is: that is what a region means
        ssl=tls,
        limit=0,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
    )


def _bad(message: str) -> SurfaceError:
    return SurfaceError("BAD_RESPONSE", message, permanent=True)


def _too_large(max_bytes: int) -> SurfaceError:
    return SurfaceError(
        "RESPONSE_TOO_LARGE", f"the reply is larger than {max_bytes} bytes", permanent=True
    )
