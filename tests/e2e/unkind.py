"""Upstreams and proxies that fail, each in its way, and repeat whatever they were told."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

import trustme

LONGEST_HEAD = 16 * 1024
HELD = "/held"


class Ports(NamedTuple):
    """Where they are on loopback; nobody listens at `closed`."""

    plain: int
    tls: int
    proxy: int
    socks: int
    closed: int


async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers as the path says, with all of the request in the body of its errors."""
    told = await _head(reader)
    path = told.split(b" ")[1].partition(b"?")[0].decode()
    match path:
        case "/fine":
            writer.write(_reply("200 OK", b'{"answer": "tea"}'))
        case "/nonsense":
            writer.write(_reply("200 OK", told))
        case "/no-text":
            writer.write(_reply("200 OK", b'{"answer": {"deep": 1}}'))
        case "/garbage":
            writer.write(b"what? " + told)
        case "/cut":
            writer.write(_reply("200 OK", told)[:-10])
        case "/moved":
            moved = f"Location: http://localhost:1/{told.split(b' ')[1].decode()}\r\n"
            writer.write(_reply("307 Temporary Redirect", told, moved))
        case "/silent" | "/held":
            await reader.read()
        case _:
            writer.write(_reply("500 Internal Server Error", told))


async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An HTTP proxy that lets nobody through."""
    told = await _head(reader)
    writer.write(_reply("407 Proxy Authentication Required", told))


async def socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A SOCKS5 proxy that wants a password, and does not like it."""
    await reader.readexactly(3)
    writer.write(b"\x05\x02")
    await reader.readexactly(2)
    writer.write(b"\x01\x01")


@asynccontextmanager
async def serving() -> AsyncIterator[Ports]:
    """All of them, until the end."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    async with AsyncExitStack() as stack:
        talks: set[asyncio.Task[None]] = set()
        stack.callback(lambda: [talk.cancel() for talk in talks])

        async def start(talk, context=None) -> int:
            async def connected(reader, writer) -> None:
                talks.add(asyncio.current_task())
                try:
                    await talk(reader, writer)
                except (ConnectionError, asyncio.IncompleteReadError):
                    pass  # the caller left
                finally:
                    writer.close()

            server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
            stack.callback(server.close)
            return server.sockets[0].getsockname()[1]

        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))  # held, so that nobody else gets it, and not listening
            yield Ports(
                plain=await start(upstream),
                tls=await start(upstream, tls),
                proxy=await start(proxy),
                socks=await start(socks),
                closed=closed.getsockname()[1],
            )


async def _head(reader: asyncio.StreamReader) -> bytes:
    """The head of a request, and as much of its body as came along."""
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.read(LONGEST_HEAD) if b"ontent-" in head else head


def _reply(status: str, body: bytes, headers: str = "") -> bytes:
    length = f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\n"
    return f"HTTP/1.1 {status}\r\n{length}{headers}Connection: close\r\n\r\n".encode() + body
