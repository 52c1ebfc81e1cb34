"""The address guard: nothing is connected to but what was checked.

Here 127.0.0.2 is the internet, the only address allowed, and 127.0.0.1 what must not be reached.
"""

import asyncio
import socket
import ssl

import aiohttp
import pytest
import trustme
from aiohttp import web

from orchestrator.domain.addresses import networks
from tests.workers.names import Held, Scripted, answer, asking
from workers import guard
from workers.guard import ForbiddenAddressError

pytestmark = pytest.mark.anyio

INTERNET = networks("127.0.0.2")
PUBLIC, PRIVATE = "127.0.0.2", "127.0.0.1"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\ntea"


class Changing(dict):
    """Says another address to whoever reads it a second time."""

    def __getitem__(self, key: str):
        said = super().__getitem__(key)
        if key == "host":
            self["host"] = PRIVATE
        return said


class Lying(Scripted):
    async def resolve(self, host, port=0, family=socket.AF_UNSPEC):
        return [Changing(answer(host, port, PUBLIC))]


@pytest.fixture
async def witnesses():
    """A port on both addresses, and which of them were connected to."""
    seen: list[str] = []

    def talking(address: str):
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(address)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(REPLY)
            await writer.drain()
            writer.close()

        return talk

    private = await asyncio.start_server(talking(PRIVATE), PRIVATE, 0)
    port = private.sockets[0].getsockname()[1]
    public = await asyncio.start_server(talking(PUBLIC), PUBLIC, port)
    yield port, seen
    for server in (private, public):
        server.close()
        await server.wait_closed()


@pytest.fixture
async def guarded():
    """Opens a session that asks this resolver."""
    sessions = []

    def make(resolver, allowed=INTERNET, tls=None) -> aiohttp.ClientSession:
        connector = guard.connector(allowed, resolver=resolver, tls=tls)
        sessions.append(aiohttp.ClientSession(connector=connector))
        return sessions[-1]

    yield make
    for session in sessions:
        await session.close()


async def fetch(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url) as response:
        return await response.read()


async def refusal(session: aiohttp.ClientSession, url: str) -> ForbiddenAddressError:
    """Why the address was refused; anything else that happens is a failure."""
    with pytest.raises(aiohttp.ClientConnectorError) as caught:
        await fetch(session, url)
    assert isinstance(caught.value.os_error, ForbiddenAddressError)
    return caught.value.os_error


async def test_a_name_that_is_bound_anew_is_judged_anew(witnesses, guarded):
    """First the internet, then us: the second connection is not made."""
    port, seen = witnesses
    session = guarded(Scripted([PUBLIC], [PRIVATE]))
    assert await fetch(session, f"http://rebinds.example:{port}/") == b"tea"
    assert str(await refusal(session, f"http://rebinds.example:{port}/")) == "loopback"
    assert seen == [PUBLIC]


async def test_a_name_server_that_binds_anew_changes_nothing(witnesses, guarded):
    """The same by the resolver that is used: it hears a time to live of zero, and asks anew."""
    port, seen = witnesses
    says = [PUBLIC]
    async with asking(lambda _: says) as resolver:
        session = guarded(resolver)
        assert await fetch(session, f"http://rebinds.example:{port}/") == b"tea"
        says[0] = PRIVATE
        assert str(await refusal(session, f"http://rebinds.example:{port}/")) == "loopback"
    assert seen == [PUBLIC]


@pytest.mark.parametrize(
    "addresses", [[PUBLIC, PRIVATE], [PRIVATE, PUBLIC], ["::1", PUBLIC], ["no address", PUBLIC]]
)
async def test_a_name_with_one_forbidden_address_is_not_called_at_all(
    witnesses, guarded, addresses
):
    """Not by its other addresses either: which of them is tried is left to chance."""
    port, seen = witnesses
    await refusal(guarded(Scripted(addresses)), f"http://both.example:{port}/")
    assert seen == []


async def test_an_address_that_changes_after_its_check_is_not_connected_to(witnesses, guarded):
    """The socket is made for the address that was judged, whatever was judged before."""
    port, seen = witnesses
    assert str(await refusal(guarded(Lying()), f"http://lies.example:{port}/")) == "loopback"
    assert seen == []


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        (PRIVATE, "loopback"),
        ("[::1]", "loopback"),
        ("[::]", "unspecified"),
        ("0.0.0.0", "unspecified"),
        ("[::ffff:127.0.0.1]", "loopback"),
        ("[64:ff9b::127.0.0.1]", "loopback"),
        ("10.0.0.1", "private"),
        ("169.254.169.254", "link-local (cloud metadata)"),
        ("[fe80::1%25lo]", "of one interface"),
    ],
)
async def test_an_address_in_the_url_is_judged_too(witnesses, guarded, host, reason):
    """No resolver is asked about it; the message does not repeat it."""
    port, seen = witnesses
    resolver = Scripted([PUBLIC])
    assert str(await refusal(guarded(resolver), f"http://{host}:{port}/")) == reason
    assert (seen, resolver.asked) == ([], [])


@pytest.mark.parametrize(
    "host", ["2130706433", "127.1", "0x7f000001", "017700000001", "0177.0.0.1"]
)
async def test_an_oddly_spelled_address_reaches_nobody(witnesses, guarded, host):
    """Even where nobody has looked at the URL: a resolver may read it, and is judged."""
    port, seen = witnesses
    session = guarded(Scripted([PRIVATE]))
    with pytest.raises(aiohttp.ClientError):
        await fetch(session, f"http://{host}:{port}/")
    assert seen == []


@pytest.mark.parametrize("host", [PUBLIC, "[::ffff:127.0.0.2]", "hooks.example"])
async def test_an_allowed_address_is_reached(witnesses, guarded, host):
    """By itself, inside an IPv6 address, and by name."""
    port, seen = witnesses
    assert await fetch(guarded(Scripted([PUBLIC])), f"http://{host}:{port}/") == b"tea"
    assert seen == [PUBLIC]


async def test_the_host_is_asked_for_by_its_name(serve, guarded):
    """What is connected to is an address; in `Host` and in TLS the name stands as it was."""
    certificate = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    certificate.issue_cert("hooks.example").configure_cert(server)
    certificate.configure_trust(client)
    named = []
    server.sni_callback = lambda _, name, __: named.append(name)

    async def handler(request):
        return web.Response(text=request.headers["Host"])

    port = (await serve(handler, tls=server)).rpartition(":")[2]
    session = guarded(Scripted([PRIVATE]), networks("127.0.0.0/8"), client)
    said = await fetch(session, f"https://hooks.example:{port}/")
    assert said == f"hooks.example:{port}".encode()
    assert named == ["hooks.example"]


async def test_a_refusal_is_not_remembered(witnesses, guarded):
    """A name that was forbidden or unknown is looked up again by the next call."""
    port, _ = witnesses
    session = guarded(Scripted([PRIVATE], OSError(None, "no such name"), [PUBLIC]))
    await refusal(session, f"http://hooks.example:{port}/")
    with pytest.raises(aiohttp.ClientConnectorDNSError):
        await fetch(session, f"http://hooks.example:{port}/")
    assert await fetch(session, f"http://hooks.example:{port}/") == b"tea"


async def test_a_call_that_gives_up_takes_no_other_with_it(witnesses, guarded):
    """Each has the name looked up for itself."""
    port, _ = witnesses
    resolver = Held([PUBLIC])
    session = guarded(resolver)
    first, second = (
        asyncio.ensure_future(fetch(session, f"http://hooks.example:{port}/")) for _ in range(2)
    )
    await resolver.asked_twice.wait()
    first.cancel()
    await asyncio.wait([first])
    resolver.open.set()
    assert await second == b"tea"
    assert first.cancelled()
