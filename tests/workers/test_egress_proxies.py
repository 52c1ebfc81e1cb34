import asyncio
import socket

import pytest
from aiohttp import web

from orchestrator.surfaces import RegionConfig
from workers.egress import Call, Egress
from workers.errors import SurfaceError

pytestmark = pytest.mark.anyio


class Socks5:
    """A SOCKS5 proxy that knows CONNECT and one user, and remembers where it was sent."""

    def __init__(self, *, user: bytes = b"", password: bytes = b"", reply: int = 0) -> None:
        self._login = bytes([1, len(user)]) + user + bytes([len(password)]) + password
        self._method = 2 if user else 0
        self._reply = reply
        self.asked: list[tuple[int, bytes, int]] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's conversation."""
        _, count = await reader.readexactly(2)
        await reader.readexactly(count)
        writer.write(bytes([5, self._method]))
        if self._method:
            sent = await reader.readexactly(len(self._login))
            writer.write(bytes([1, sent != self._login]))
        *_, kind = await reader.readexactly(4)
        length = 4 if kind == 1 else (await reader.readexactly(1))[0]
        host = await reader.readexactly(length)
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append((kind, host, port))
        writer.write(bytes([5, self._reply, 0, 1, 0, 0, 0, 0, 0, 0]))
        if not self._reply:
            await self._relay(reader, writer, port)

    async def _relay(self, reader, writer, port: int) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.wait(
                [
                    asyncio.ensure_future(pump(reader, far_writer)),
                    asyncio.ensure_future(pump(far_reader, writer)),
                ]
            )
        finally:
            far_writer.close()


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass  # one side left; the other sees it as the end
    sink.close()


async def tea(request: web.Request) -> web.Response:
    return web.Response(text=f"tea for {request.headers.get('Proxy-Authorization')}")


async def get(proxy: str, url: str, country: str = "GB") -> bytes:
    way_out = Egress(regions={"GB": RegionConfig(proxy=proxy)})
    try:
        return (await way_out.fetch(country, Call(method="GET", url=url))).body
    finally:
        await way_out.close()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_a_socks_proxy_is_spoken_to_in_socks(serve, listen, scheme):
    """A region's SOCKS5 proxy is logged in to and asked for the host by its name."""
    proxy = Socks5(user=b"me", password=b"p@ss")
    port = await listen(proxy.talk)
    target = (await serve(tea)).rpartition(":")[2]
    url = f"http://upstream.invalid:{target}/"
    assert await get(f"{scheme}://me:p%40ss@127.0.0.1:{port}", url) == b"tea for None"
    assert proxy.asked == [(3, b"upstream.invalid", int(target))]


async def test_only_its_own_region_goes_through_a_proxy(serve, listen):
    """A country without a proxy goes straight to the upstream."""
    proxy = Socks5()
    port = await listen(proxy.talk)
    assert await get(f"socks5://127.0.0.1:{port}", await serve(tea), "US") == b"tea for None"
    assert proxy.asked == []


async def test_an_http_proxy_is_asked_for_the_whole_url(serve):
    """A region's HTTP proxy gets the absolute URL and its credentials."""
    seen = []

    async def proxy(request):
        seen.append((str(request.url), request.headers["Proxy-Authorization"]))
        return web.Response(text="through")

    address = (await serve(proxy)).replace("http://", "http://me:pw@")
    assert await get(address, "http://upstream.invalid/x?q=%26") == b"through"
    assert seen == [("http://upstream.invalid/x?q=%26", "Basic bWU6cHc=")]


async def test_an_http_proxy_that_refuses_a_tunnel(serve):
    """A CONNECT that is refused is `CONNECT_FAILED`."""

    async def proxy(request):
        return web.Response(status=407)

    with pytest.raises(SurfaceError) as caught:
        await get(await serve(proxy), "https://upstream.invalid/")
    assert (caught.value.code, caught.value.permanent) == ("CONNECT_FAILED", False)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_is_away(scheme):
    """A proxy nobody listens at is `CONNECT_FAILED`, and the message says it is the proxy."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(SurfaceError, match="proxy") as caught:
            await get(f"{scheme}://127.0.0.1:{bound.getsockname()[1]}", "http://upstream.invalid/")
    assert caught.value.code == "CONNECT_FAILED"


@pytest.mark.parametrize("proxy", [Socks5(reply=5), Socks5(user=b"me", password=b"xx")])
async def test_a_socks_proxy_that_refuses(listen, proxy):
    """A SOCKS proxy that does not connect us is `CONNECT_FAILED`."""
    with pytest.raises(SurfaceError, match="proxy") as caught:
        await get(f"socks5://me:pw@127.0.0.1:{await listen(proxy.talk)}", "http://h.invalid/")
    assert caught.value.code == "CONNECT_FAILED"
