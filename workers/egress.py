"""The way out: one HTTP session per lane, its proxy, and the bounds on every reply.

aiohttp is used as it is: a call costs 180 µs of a core so, 640 µs through httpx on top of it, and
one process is to make 2,000 captures a second. A SOCKS proxy is a connector of the session, since
aiohttp's own proxies speak plain HTTP.
"""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from functools import cache
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
from workers.guard import Guard

MAX_REDIRECTS = 5
MAX_BYTES = 8 * 1024 * 1024
_KEEP_ALIVE_SECONDS = 15.0
_EXPLAINED_BYTES = 16 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SENT_ANYWHERE = frozenset({"accept", "accept-language", "user-agent"})
USER_AGENT = "parallax-orchestrator"
_SENT_ALWAYS = {"User-Agent": USER_AGENT, "Accept-Encoding": ACCEPT_ENCODING}
_SOCKS_BY_NAME = re.compile(r"^(socks[45])[ah]:")


class Call(Discreet, frozen=True, kw_only=True):
    """One HTTP call: header names in lower case, the URL percent-encoded, as it is to be sent.

    `explain` says more of a refusal, by the beginning of its body. `before` is asked about each URL
    that is about to be called, redirects too, and raises for one that is not to be.
    """

    method: str
    url: str
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: bytes | None = None
    connect_seconds: float = 10.0
    read_seconds: float = 30.0
    total_seconds: float = 30.0
    max_bytes: int = MAX_BYTES
    max_redirects: int = MAX_REDIRECTS
    explain: Callable[[SurfaceError, bytes], SurfaceError] | None = None
    before: Callable[[str], Awaitable[None]] | None = None

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


class Lane(Discreet, frozen=True, kw_only=True):
    """A session, the HTTP proxy to name with each of its calls, and whether any proxy connects."""

    session: aiohttp.ClientSession
    proxy: str | None
    proxied: bool

    def _shown(self) -> dict[str, Any]:
        return {"proxied": self.proxied}


class Egress:
    """The sessions of one surface, a lane each, made when first used.

    With a guard they go only where a client may have us go.
    """

    def __init__(self, *, regions: dict[str, RegionConfig], guard: Guard | None = None) -> None:
        self._regions = regions
        self._guard = guard
        self._lanes: dict[str, Lane] = {}

    async def fetch(self, country: str, call: Call) -> Reply:
        """The reply, or `SurfaceError`. Canceled or timed out it leaves no connection behind."""
        lane = self._lane(country)
        try:
            async with asyncio.timeout(call.total_seconds):
                return await _fetch(lane, call, self._guard)
        except EXPECTED as error:
            raise translated(error) from None

    async def close(self) -> None:
        """Closes every connection."""
        lanes, self._lanes = self._lanes, {}
        for lane in lanes.values():
            await lane.session.close()
        if self._guard is not None:
            await self._guard.close()

    def _lane(self, country: str) -> Lane:
        if (lane := self._lanes.get(country)) is None:
            proxy = self._regions.get(country, RegionConfig()).proxy
            socks = proxy if proxy and proxy.startswith("socks") else None
            if self._guard is not None and proxy is None:
                connector = self._guard.connector(_tls())
            else:
                connector = _connector(socks, _tls())
            lane = Lane(
                session=_session(connector),
                proxy=None if socks else proxy,
                proxied=proxy is not None,
            )
            self._lanes[country] = lane
        return lane


async def _fetch(lane: Lane, call: Call, guard: Guard | None) -> Reply:
    """Follows redirects by hand: to another origin neither our headers nor our body go along."""
    for _ in range(call.max_redirects + 1):
        if guard is not None:
            await guard.check(call.url, elsewhere=lane.proxied)
        if call.before is not None:
            await call.before(call.url)
        async with lane.session.request(
            call.method,
            URL(call.url, encoded=True),
            headers=call.headers,
            data=call.body,
            allow_redirects=False,
            proxy=lane.proxy,
            timeout=aiohttp.ClientTimeout(
                sock_connect=call.connect_seconds, sock_read=call.read_seconds
            ),
        ) as response:
            location = response.headers.get("Location")
            if location is None or response.status not in _REDIRECTS:
                return await _read(response, call)
            call = _redirected(call, response.status, location)
    raise _bad(f"the upstream redirected more than {call.max_redirects} times")


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
        error = refused(response.status, headers.get("Retry-After"), headers.get("Date"))
        raise error if call.explain is None else call.explain(error, await _beginning(response))
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


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """The first bytes of a refusal; none of one that comes in a coding, or not at all."""
    if response.headers.get("Content-Encoding"):
        return b""
    try:
        return await response.content.read(_EXPLAINED_BYTES)
    except EXPECTED:
        return b""


@cache
def _tls() -> ssl.SSLContext:
    """What trusts whom the system trusts; made once, since that takes 30 ms."""
    return ssl.create_default_context()


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    """A session that keeps no cookies (one child's are not another's) and reads no environment."""
    return aiohttp.ClientSession(
        connector=connector,
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
