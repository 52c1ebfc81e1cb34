"""The way out to what clients chose: one deadline over all of a call, and every end of it typed."""

import asyncio
import socket
import ssl
import struct
from contextlib import asynccontextmanager

import pytest
import trustme
from aiohttp import web

from orchestrator.domain.addresses import networks
from tests.workers.names import ABSENT, BROKEN, Held, Scripted, asking
from workers.errors import SurfaceError
from workers.outgoing import MOST_HEADER_CHARACTERS, MOST_HEADERS, Outgoing, Reply

pytestmark = pytest.mark.anyio

LOOPBACK = networks("127.0.0.0/8")
KEEP_BYTES = 64 * 1024
SHORT_SECONDS = 0.3
LONG_SECONDS = 30.0
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
async def outgoing():
    """Makes one that may call this machine."""
    made = []

    def make(*, resolver=None, tls=None, allowed=LOOPBACK) -> Outgoing:
        made.append(Outgoing(allowed, resolver=resolver, tls=tls))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def post(one: Outgoing, url: str, **changes) -> Reply:
    fields = {"headers": {}, "body": b"{}", "seconds": LONG_SECONDS, "keep_bytes": KEEP_BYTES}
    return await one.post(url, **fields | changes)


async def failure(one: Outgoing, url: str, **changes) -> SurfaceError:
    with pytest.raises(SurfaceError) as caught:
        await post(one, url, **changes)
    return caught.value


def answering(payload: bytes):
    """A conversation that reads a request's head and sends these bytes whatever was asked."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(payload)
        await writer.drain()

    return talk


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_what_was_asked_to_be_sent_is_sent(outgoing, serve):
    """Method, path, body and headers; who we are, and no wish for compression."""
    seen = []

    async def handler(request):
        seen.append((request.method, request.raw_path, await request.read(), request.headers))
        return web.Response(status=201, text="tea", headers={"X-A": "1"})

    url = await serve(handler) + "/a%2Fb?q=ü#part"
    reply = await post(outgoing(), url, headers={"x-id": "7"}, body=b"[1]")
    assert (reply.status, reply.body, reply.truncated) == (201, b"tea", False)
    assert reply.headers["x-a"] == "1"
    method, path, body, headers = seen[0]
    assert (method, path, body, headers["x-id"]) == ("POST", "/a%2Fb?q=%C3%BC", b"[1]", "7")
    assert headers["User-Agent"] == "parallax-orchestrator"
    assert headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("status", [200, 204, 301, 302, 307, 308, 400, 404, 410, 429, 500, 503])
async def test_every_status_is_a_reply(outgoing, serve, status):
    """What it means is the caller's to say; a redirect is not followed."""
    seen = []

    async def handler(request):
        seen.append(request.path)
        return web.Response(status=status, headers={"Location": "/there", "Retry-After": "7"})

    reply = await post(outgoing(), await serve(handler) + "/here")
    assert (reply.status, reply.headers["retry-after"], seen) == (status, "7", ["/here"])


async def test_proxies_of_the_environment_are_not_asked(outgoing, serve, monkeypatch):
    """They would connect to whatever they are told to."""

    async def handler(request):
        return web.Response(text="tea")

    async def proxy(request):
        return web.Response(text="through")

    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, await serve(proxy))
    assert (await post(outgoing(), await serve(handler))).body == b"tea"


async def test_cookies_are_not_kept(outgoing, serve):
    """What one client's endpoint gives us no other gets back."""
    seen = []

    async def handler(request):
        seen.append(request.headers.get("Cookie"))
        response = web.Response()
        response.set_cookie("who", "one")
        return response

    one, url = outgoing(), await serve(handler)
    for _ in range(2):
        await post(one, url)
    assert seen == [None, None]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [(0, 0), (999, 999), (1000, 1000), (1001, 1000), (9999, 1000)],
)
@pytest.mark.parametrize("announced", [True, False])
async def test_of_a_long_body_the_beginning_is_kept(outgoing, serve, sent, kept, announced):
    """Exactly as much as was asked for."""

    async def handler(request):
        if announced:
            return web.Response(body=b"x" * sent)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x" * sent)
        return response

    reply = await post(outgoing(), await serve(handler), keep_bytes=1000)
    assert (len(reply.body), reply.truncated) == (kept, sent > kept)


async def test_of_an_endless_body_the_rest_is_not_read(outgoing, listen):
    """The connection is closed, which its server notices."""
    left = asyncio.Event()

    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"\r\n")
        try:
            while True:
                writer.write(b"x" * 1000)
                await writer.drain()
        except ConnectionError:
            left.set()

    reply = await post(outgoing(), f"http://127.0.0.1:{await listen(talk)}/")
    assert (len(reply.body), reply.truncated) == (KEEP_BYTES, True)
    async with asyncio.timeout(LONG_SECONDS):
        await left.wait()


async def test_a_connection_is_used_again(outgoing, serve):
    """A thousand posts to one endpoint are not a thousand handshakes."""
    peers = set()

    async def handler(request):
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(text="tea")

    one, url = outgoing(), await serve(handler)
    for _ in range(5):
        await post(one, url)
    assert len(peers) == 1


async def test_a_large_body_arrives_whole(outgoing, serve):
    """Without a word of warning from the client's library."""

    async def handler(request):
        pieces = [len(piece) async for piece in request.content.iter_any()]
        return web.Response(text=f"{request.content_length} {sum(pieces)}")

    size = 3 * 1024 * 1024
    reply = await post(outgoing(), await serve(handler), body=b"x" * size)
    assert reply.body == f"{size} {size}".encode()


async def test_headers_are_kept_as_far_as_there_is_room(outgoing, listen):
    """Names in lower case, values of one name joined, what is not UTF-8 made storable."""
    head = OK + b"Content-Length: 0\r\nX-A: 1\r\nX-Odd: caf\xe9 \xc3\xbc\r\nx-a: 2\r\n\r\n"
    reply = await post(outgoing(), f"http://127.0.0.1:{await listen(answering(head))}/")
    assert reply.headers == {"content-length": "0", "x-a": "1, 2", "x-odd": "caf\ufffd ü"}


@pytest.mark.parametrize(
    ("lines", "most"),
    [([f"x-{n}: 1" for n in range(110)], MOST_HEADERS), (["x: " + "a" * 7000] * 4, 1)],
)
async def test_of_too_many_headers_the_first_are_kept(outgoing, listen, lines, most):
    """So many of them, and so many characters in all."""
    head = OK + "\r\n".join(["content-length: 0", *lines, "", ""]).encode()
    reply = await post(outgoing(), f"http://127.0.0.1:{await listen(answering(head))}/")
    assert len(reply.headers) <= most + 1
    size = sum(len(name) + len(value) for name, value in reply.headers.items())
    assert size <= MOST_HEADER_CHARACTERS
    assert size >= MOST_HEADER_CHARACTERS // 3 or len(reply.headers) == most


async def drip_head(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)
    while True:
        writer.write(b"x-a: 1\r\n"[:1])
        await writer.drain()
        await asyncio.sleep(0.01)


async def drip_body(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK + b"Content-Length: 60000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def deaf(reader, writer):
    """Reads nothing of what is sent to it."""
    writer.transport.pause_reading()
    await asyncio.Event().wait()


@pytest.mark.parametrize("talk", [silent, drip_head, drip_body, deaf])
async def test_one_deadline_is_over_sending_and_reading(outgoing, listen, talk):
    """Silence, a drip of headers or body, an endpoint that does not listen: all end by it."""
    url = f"http://127.0.0.1:{await listen(talk)}/"
    body = b"x" * (32 * 1024 * 1024 if talk is deaf else 2)
    error = await failure(outgoing(), url, seconds=SHORT_SECONDS, body=body)
    assert (error.code, error.permanent) == ("UPSTREAM_TIMEOUT", False)


async def test_the_deadline_is_over_looking_up_the_name(outgoing):
    """A resolver that says nothing."""
    error = await failure(outgoing(resolver=Held([])), "http://a.example/", seconds=SHORT_SECONDS)
    assert (error.code, error.permanent) == ("UPSTREAM_TIMEOUT", False)


async def test_the_deadline_is_over_the_handshake_of_tls(outgoing, listen):
    """An endpoint that takes the connection and says nothing."""
    url = f"https://127.0.0.1:{await listen(silent)}/"
    error = await failure(outgoing(), url, seconds=SHORT_SECONDS)
    assert (error.code, error.permanent) == ("UPSTREAM_TIMEOUT", False)


@asynccontextmanager
async def crowded():
    """A port whose queue is full: the kernel answers nobody who connects to it."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)  # noqa: FBT003 - its name
                one.connect_ex(door.getsockname())
            yield door.getsockname()[1]
        finally:
            for one in waiting:
                one.close()


async def test_the_deadline_is_over_connecting(outgoing):
    """A host that does not answer at all."""
    async with crowded() as port:
        error = await failure(outgoing(), f"http://127.0.0.1:{port}/", seconds=SHORT_SECONDS)
    assert (error.code, error.permanent) == ("UPSTREAM_TIMEOUT", False)


async def test_a_name_whose_servers_are_silent_delays_no_other(outgoing, serve):
    """However many calls wait for it."""
    asked = asyncio.Event()

    def say(name: str):
        if name == "quick.example":
            return ["127.0.0.1"]
        asked.set()
        return None

    async def handler(request):
        return web.Response(text="tea")

    port = (await serve(handler)).rpartition(":")[2]
    async with asking(say) as resolver:
        one = outgoing(resolver=resolver)
        slow = [
            asyncio.ensure_future(post(one, f"http://slow{n}.example:{port}/")) for n in range(50)
        ]
        await asked.wait()
        assert (await post(one, f"http://quick.example:{port}/")).body == b"tea"
        assert not any(call.done() for call in slow)
        for call in slow:
            call.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


@pytest.mark.parametrize(
    ("said", "code", "permanent"),
    [
        (ABSENT, "DNS_FAILED", True),
        (BROKEN, "DNS_FAILED", False),
        ([], "DNS_FAILED", False),
        (["127.0.0.1"], "CONNECT_FAILED", False),
        (["10.0.0.1"], "ADDRESS_FORBIDDEN", True),
    ],
)
async def test_what_a_name_server_says_is_typed(outgoing, said, code, permanent):
    """A name that does not exist stays so; a name server that is ill may recover."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        async with asking(lambda _: said) as resolver:
            url = f"http://a.example:{bound.getsockname()[1]}/"
            error = await failure(outgoing(resolver=resolver), url)
    assert (error.code, error.permanent) == (code, permanent)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://10.0.0.1/", "this address is private"),
        ("http://[::1]:8080/", "this address is loopback"),
        ("http://user@example.com/", "Leave out user"),
        ("ftp://example.com/", "begins with http://"),
        ("http://127.0.0.1:22/", "port 80"),
        ("", "begins with http://"),
    ],
)
async def test_a_url_is_checked_before_every_call(outgoing, url, said):
    """It may be older than the settings; nothing is asked of the network."""
    resolver = Scripted(["127.0.0.1"])
    error = await failure(outgoing(resolver=resolver), url)
    assert (error.code, error.permanent) == ("ADDRESS_FORBIDDEN", True)
    assert said in error.message
    assert resolver.asked == []


async def test_a_forbidden_address_is_not_told(outgoing):
    """A client learns why, and not what our names lead to."""
    resolver = Scripted(["127.0.0.1", "10.11.12.13"])
    error = await failure(outgoing(resolver=resolver), "http://a.example/")
    assert error.message == "the upstream's address may not be called: it is private"


async def test_without_allowed_networks_this_machine_is_out_of_reach(outgoing, serve):
    """By no name of it."""
    seen = []

    async def handler(request):
        seen.append(request.path)
        return web.Response()

    url = await serve(handler)
    closed = outgoing(allowed=(), resolver=Scripted(["127.0.0.1"]))
    for host in ("127.0.0.1", "localhost", "a.example", "[::ffff:127.0.0.1]", "2130706433"):
        error = await failure(closed, url.replace("127.0.0.1", host))
        assert (error.code, error.permanent) == ("ADDRESS_FORBIDDEN", True)
    assert seen == []


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        OK + b"Content-Length: 10\r\n\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.7\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_a_bad_response(outgoing, listen, payload):
    """Whatever an endpoint sends, a call ends with a typed failure that may pass."""
    error = await failure(outgoing(), f"http://127.0.0.1:{await listen(answering(payload))}/")
    assert (error.code, error.permanent) == ("BAD_RESPONSE", False)


@pytest.mark.parametrize("head", [b"", OK + b"Content-Length: 10\r\n\r\nabc"])
async def test_a_reset_is_a_bad_response(outgoing, listen, head):
    """Before the reply and in the middle of it."""

    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        await writer.drain()
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    error = await failure(outgoing(), f"http://127.0.0.1:{await listen(talk)}/")
    assert (error.code, error.permanent) == ("BAD_RESPONSE", False)


async def test_tls_is_verified(outgoing, serve):
    """By the name in the URL: a certificate nobody vouches for, or another's, is none."""
    authority = trustme.CA()
    server, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("hooks.example").configure_cert(server)
    authority.configure_trust(trusting)

    async def handler(request):
        return web.Response(text="tea")

    port = (await serve(handler, tls=server)).rpartition(":")[2]
    mine, other = f"https://hooks.example:{port}/", f"https://other.example:{port}/"
    one = outgoing(resolver=Scripted(["127.0.0.1"]), tls=trusting)
    assert (await post(one, mine)).body == b"tea"
    strangers = outgoing(resolver=Scripted(["127.0.0.1"]))
    for error in (await failure(one, other), await failure(strangers, mine)):
        assert (error.code, error.permanent) == ("TLS_FAILED", True)


async def test_plain_http_on_a_tls_port(outgoing, serve):
    """An endpoint that does not speak TLS is `TLS_FAILED`, and may pass."""

    async def handler(request):
        return web.Response()

    url = (await serve(handler)).replace("http:", "https:")
    error = await failure(outgoing(), url)
    assert (error.code, error.permanent) == ("TLS_FAILED", False)


async def test_it_closes_its_resolver(outgoing, serve):
    """And can be closed before it was ever used, and twice."""

    async def handler(request):
        return web.Response()

    resolver = Scripted(["127.0.0.1"])
    used, unused = outgoing(resolver=resolver), outgoing()
    await post(used, await serve(handler))
    for one in (used, unused, used):
        await one.close()
    assert resolver.closed
