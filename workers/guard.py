"""The address guard: whatever a client chose, we connect to the address that was checked.

Names are judged where they are resolved, a name by all of its addresses; and each address once more
where the socket for it is made. Nothing looks a name up in between: what a server of names says the
second time, to whoever asks again, is not heard.
"""

import socket
import ssl
from collections.abc import Sequence

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from orchestrator.domain import urls
from orchestrator.domain.addresses import Network, forbidden, read
from workers.errors import SurfaceError

FORBIDDEN = "ADDRESS_FORBIDDEN"
_KEEP_ALIVE_SECONDS = 15.0


class ForbiddenAddressError(OSError):
    """An address that may not be connected to; the text says why, and not which it is."""


class Guard:
    """Judges what clients would have called, URL by URL; made where a loop runs, or before."""

    def __init__(
        self, allowed: Sequence[Network], *, resolver: AbstractResolver | None = None
    ) -> None:
        self._allowed = tuple(allowed)
        self._resolver = resolver

    async def check(self, url: str, *, elsewhere: bool) -> None:
        """Raises `SurfaceError`, `ForbiddenAddressError` and what the resolver raises.

        `elsewhere` says that it is not us who connect, but a proxy: its name is looked up here.
        """
        check_url(url, self._allowed)
        host = URL(url, encoded=True).host or ""
        if elsewhere and read(host) is None:
            for answer in await self._names.resolve(host):
                _check(answer["host"], self._allowed)

    def connector(self, tls: ssl.SSLContext) -> aiohttp.TCPConnector:
        """Connects to nothing that may not be called."""
        return connector(self._allowed, resolver=self._names, tls=tls)

    async def close(self) -> None:
        """Closes the resolver."""
        resolver, self._resolver = self._resolver, None
        if resolver is not None:
            await resolver.close()

    @property
    def _names(self) -> AbstractResolver:
        self._resolver = self._resolver or aiohttp.AsyncResolver()
        return self._resolver


def check_url(url: str, allowed: Sequence[Network]) -> None:
    """Raises `SurfaceError` for a URL that no client may have called; asks no server of names."""
    if wrong := urls.fault(url, allowed):
        reason = f"the URL may not be called: {wrong.message}"
        raise SurfaceError(FORBIDDEN, reason, permanent=True)


def connector(
    allowed: Sequence[Network], *, resolver: AbstractResolver, tls: ssl.SSLContext | None = None
) -> aiohttp.TCPConnector:
    """Connects to the internet and to `allowed` networks; to anywhere else nothing is sent.

    The resolver is still the caller's to close. Each connection has its name looked up for itself:
    a call that gives up takes no other with it.
    """
    return aiohttp.TCPConnector(
        resolver=_Guarded(resolver, allowed),
        socket_factory=_sockets(allowed),
        use_dns_cache=False,
        ssl=tls or True,
        limit=0,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
    )


class _Guarded(AbstractResolver):
    """Knows only names all of whose addresses may be connected to."""

    def __init__(self, resolver: AbstractResolver, allowed: Sequence[Network]) -> None:
        self._resolver = resolver
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses; raises `ForbiddenAddressError`, and what the resolver raises."""
        found = await self._resolver.resolve(host, port, family)
        for answer in found:
            _check(answer["host"], self._allowed)
        return found

    async def close(self) -> None:
        """The resolver is its owner's to close."""


def _sockets(allowed: Sequence[Network]) -> aiohttp.SocketFactoryType:
    """What makes every socket of a connector: for addresses in URLs, too, which no one resolves."""

    def make(about: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = about
        _check(str(address[0]), allowed)
        return socket.socket(family, kind, protocol)

    return make


def _check(host: str, allowed: Sequence[Network]) -> None:
    address = read(host)
    reason = "not an address" if address is None else forbidden(address, allowed)
    if reason:
        raise ForbiddenAddressError(reason)
