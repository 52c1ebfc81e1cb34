"""Resolvers and a name server that say what a test has them say."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

ABSENT, BROKEN = 3, 2
"""What a name server answers instead of addresses: NXDOMAIN, SERVFAIL."""
_A, _IN = 1, 1
_HEADER_BYTES = 12


def answer(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST
    )


class Scripted(AbstractResolver):
    """Answers each lookup with the next addresses or raises the next error; the last stays."""

    def __init__(self, *answers: Sequence[str] | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []
        self.closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(found, Exception):
            raise found
        return [answer(host, port, address) for address in found]

    async def close(self) -> None:
        self.closed = True


class Held(Scripted):
    """Lets nobody have an answer before `open` is set."""

    def __init__(self, *answers: Sequence[str]) -> None:
        super().__init__(*answers)
        self.open = asyncio.Event()
        self.asked_twice = asyncio.Event()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        if len(self.asked) > 1:
            self.asked_twice.set()
        await self.open.wait()
        return found


Said = Sequence[str] | int | None
"""IPv4 addresses, a code instead of them, or nothing at all."""


class NameServer(asyncio.DatagramProtocol):
    """Says addresses with a time to live of zero, to whoever asks for addresses of IPv4."""

    def __init__(self, say: Callable[[str], Said]) -> None:
        self._say = say

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, place = [], _HEADER_BYTES
        while length := data[place]:
            labels.append(data[place + 1 : place + 1 + length].decode().lower())
            place += 1 + length
        end = place + 5
        said = self._say(".".join(labels))
        if said is None:
            return
        code, found = (said, ()) if isinstance(said, int) else (0, said)
        if int.from_bytes(data[place + 1 : place + 3], "big") != _A:
            found = ()
        counts = b"".join(n.to_bytes(2, "big") for n in (1, len(found), 0, 0))
        head = data[:2] + (0x8180 | code).to_bytes(2, "big") + counts
        self._transport.sendto(head + data[_HEADER_BYTES:end] + b"".join(map(_record, found)), addr)


def _record(address: str) -> bytes:
    packed = IPv4Address(address).packed
    head = b"\xc0\x0c" + _A.to_bytes(2, "big") + _IN.to_bytes(2, "big")
    return head + bytes(4) + len(packed).to_bytes(2, "big") + packed


@asynccontextmanager
async def asking(say: Callable[[str], Said]) -> AsyncIterator[aiohttp.AsyncResolver]:
    """An asynchronous resolver that asks a name server of ours, which says this of a name.

    Each lookup asks twice, for addresses of IPv4 and of IPv6.
    """
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: NameServer(say), local_addr=("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    resolver = aiohttp.AsyncResolver(nameservers=["127.0.0.1"], udp_port=port, tcp_port=port)
    try:
        yield resolver
    finally:
        await resolver.close()
        transport.close()
