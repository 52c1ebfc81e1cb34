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

from orchestrator.domain.addresses import Network, forbidden, read

_KEEP_ALIVE_SECONDS = 15.0


class ForbiddenAddressError(OSError):
    """An address that may not be connected to; the text says why, and not which it is."""


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
