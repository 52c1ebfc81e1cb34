import asyncio
import gzip
import socket
import ssl
import zlib

import aiohttp
import pytest
import trustme
from aiohttp import web

from orchestrator.surfaces import RegionConfig
from workers.egress import MAX_REDIRECTS, Call, Egress
from workers.egress_errors import refused, translated
from workers.errors import SurfaceError

pytestmark = pytest.mark.anyio


@pytest.fixture
async def egress():
    way_out = Egress(regions={})
    yield way_out
    await way_out.close()


async def failure(way_out: Egress, url: str, **changes) -> SurfaceError:
    with pytest.raises(SurfaceError) as caught:
        await way_out.fetch("US", Call(method="GET", url=url, **changes))
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


async def test_a_reply_is_brought_home(egress, serve):
    """Status, type, body and where it came from; what was sent is what was asked to be sent."""
    seen = []

    async def handler(request):
        seen.append((request.method, request.raw_path, await request.read(), request.headers))
        return web.Response(status=201, text="tea")

    url = await serve(handler) + "/a%2Fb?q=%26%20%2B&%27"
    call = Call(method="POST", url=url, headers={"x-a": "1"}, body=b"{}")
    reply = await egress.fetch("US", call)
    assert (reply.status, reply.body, reply.url) == (201, b"tea", url)
    assert reply.content_type == "text/plain; charset=utf-8"
    method, path, body, headers = seen[0]
    assert (method, path, body, headers["x-a"]) == ("POST", "/a%2Fb?q=%26%20%2B&%27", b"{}", "1")


async def test_cookies_are_not_kept(egress, serve):
    """What an upstream gives one child it does not get back from the next."""
    seen = []

    async def handler(request):
        seen.append(request.headers.get("Cookie"))
        response = web.Response()
        response.set_cookie("who", "one")
        return response

    url = await serve(handler)
    for _ in range(2):
        await egress.fetch("US", Call(method="GET", url=url))
    assert seen == [None, None]


@pytest.mark.parametrize(
    ("status", "permanent", "after"),
    [
        (400, True, None),
        (404, True, None),
        (407, True, None),
        (304, True, None),
        (408, False, 7),
        (425, False, 7),
        (429, False, 7),
        (500, False, 7),
        (503, False, 7),
    ],
)
async def test_a_status_is_typed(egress, serve, status, permanent, after):
    """408, 425, 429 and 5xx may pass, and say when; any other refusal stays."""

    async def handler(request):
        return web.Response(status=status, headers={"Retry-After": "7"})

    error = await failure(egress, await serve(handler))
    assert (error.code, error.response_code) == ("UPSTREAM_STATUS", status)
    assert (error.permanent, error.retry_after_seconds) == (permanent, after)


async def test_a_retry_after_that_is_a_date_is_read_off_the_reply(egress, serve):
    """With the `Date` of the same reply, which is far from ours here."""

    async def handler(request):
        headers = {
            "Date": "Sat, 01 Nov 2025 10:00:00 GMT",
            "Retry-After": "Sat, 01 Nov 2025 10:00:42 GMT",
        }
        return web.Response(status=503, headers=headers)

    assert (await failure(egress, await serve(handler))).retry_after_seconds == 42


@pytest.mark.parametrize(
    ("payload", "code", "permanent"),
    [
        (b"", "BAD_RESPONSE", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "BAD_RESPONSE", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "BAD_RESPONSE", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "BAD_RESPONSE", False),
        (b"SSH-2.0-OpenSSH_9.7\r\n\r\n", "BAD_RESPONSE", False),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", "BAD_RESPONSE", False),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\nx", "BAD_RESPONSE", True),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\n\r\nx", "BAD_RESPONSE", True),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nplain", "BAD_RESPONSE", False),
        (b"HTTP/1.1 302 Found\r\nLocation: ftp://h/\r\n\r\n", "BAD_RESPONSE", True),
        (b"HTTP/1.1 302 Found\r\nLocation: http://u:p@h/\r\n\r\n", "BAD_RESPONSE", True),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n", "BAD_RESPONSE", True),
        (b"HTTP/1.1 302 Found\r\n\r\n", "UPSTREAM_STATUS", True),
    ],
)
async def test_a_malformed_reply_is_typed(egress, listen, payload, code, permanent):
    """Whatever an upstream sends, a capture ends with a typed failure."""
    error = await failure(egress, f"http://127.0.0.1:{await listen(answering(payload))}/")
    assert (error.code, error.permanent) == (code, permanent)


async def test_a_dripping_reply_arrives(egress, listen):
    """A reply that comes one byte at a time is whole in the end."""

    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntea":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    url = f"http://127.0.0.1:{await listen(talk)}/"
    assert (await egress.fetch("US", Call(method="GET", url=url))).body == b"tea"


async def test_time_outs(egress, listen):
    """Silence ends at the read time-out, and a drip at the total one."""

    async def drip(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.005)

    quiet = f"http://127.0.0.1:{await listen(silent)}/"
    error = await failure(egress, quiet, read_seconds=0.02)
    assert (error.code, error.permanent) == ("UPSTREAM_TIMEOUT", False)
    dripping = f"http://127.0.0.1:{await listen(drip)}/"
    error = await failure(egress, dripping, total_seconds=0.05)
    assert (error.code, error.permanent) == ("UPSTREAM_TIMEOUT", False)


async def test_a_refused_connection(egress):
    """Nobody listening is `CONNECT_FAILED`, and may pass."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        error = await failure(egress, f"http://127.0.0.1:{bound.getsockname()[1]}/")
    assert (error.code, error.permanent) == ("CONNECT_FAILED", False)


@pytest.mark.parametrize(
    ("errno", "permanent"), [(socket.EAI_NONAME, True), (socket.EAI_AGAIN, False)]
)
def test_a_name_that_does_not_exist_stays_so(errno, permanent):
    """`DNS_FAILED` is permanent only when the resolver said the name does not exist."""
    key = aiohttp.client_reqrep.ConnectionKey("x.invalid", 80, False, True, None, None, None)  # noqa: FBT003
    error = translated(aiohttp.ClientConnectorDNSError(key, socket.gaierror(errno, "no")))
    assert (error.code, error.permanent) == ("DNS_FAILED", permanent)


async def test_an_unknown_name_is_a_dns_failure(egress):
    """A host that no resolver knows is `DNS_FAILED`."""
    assert (await failure(egress, "http://nowhere.invalid/")).code == "DNS_FAILED"


async def test_an_operator_s_upstreams_have_the_names_of_the_system(egress):
    """Whatever the machine's resolver knows, from files and plug-ins too."""
    lane = egress._lane("US")
    assert isinstance(lane.session.connector._resolver, aiohttp.ThreadedResolver)


async def test_an_untrusted_certificate(egress, serve):
    """A certificate nobody vouches for is `TLS_FAILED`, and trying again does not help."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)

    async def handler(request):
        return web.Response()

    error = await failure(egress, await serve(handler, tls=tls))
    assert (error.code, error.permanent) == ("TLS_FAILED", True)


async def test_plain_http_on_a_tls_port(egress, serve):
    """An upstream that does not speak TLS is `TLS_FAILED`."""

    async def handler(request):
        return web.Response()

    url = (await serve(handler)).replace("http:", "https:")
    assert (await failure(egress, url)).code == "TLS_FAILED"


@pytest.mark.parametrize("announced", [True, False])
async def test_a_large_reply_is_refused(egress, serve, announced):
    """One byte more than the limit fails, announced or not; the limit itself passes."""

    async def handler(request):
        body = b"x" * int(request.query["n"])
        if announced:
            return web.Response(body=body)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(body)
        return response

    url = await serve(handler)
    whole = await egress.fetch("US", Call(method="GET", url=f"{url}?n=5000", max_bytes=5000))
    assert len(whole.body) == 5000
    error = await failure(egress, f"{url}?n=5001", max_bytes=5000)
    assert (error.code, error.permanent) == ("RESPONSE_TOO_LARGE", True)


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("gzip", gzip.compress),
        ("GZIP", lambda b: gzip.compress(b[:5]) + gzip.compress(b[5:])),
        ("deflate", zlib.compress),
        ("deflate", lambda b: zlib.compress(b)[2:-4]),
        ("identity", bytes),
    ],
)
async def test_codings_are_undone(egress, listen, coding, encode):
    """gzip, in several members too, and deflate of both kinds arrive as what was meant."""
    body = encode(b"tea leaves " * 500)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n"
    port = await listen(answering(head.encode() + body))
    reply = await egress.fetch("US", Call(method="GET", url=f"http://127.0.0.1:{port}/"))
    assert reply.body == b"tea leaves " * 500


async def test_a_compressed_reply_cut_short(egress, listen):
    """A gzip body that ends early is a failure that may pass, never half an answer."""
    body = gzip.compress(b"tea" * 1000)[:-9]
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    error = await failure(
        egress, f"http://127.0.0.1:{await listen(answering(head.encode() + body))}/"
    )
    assert (error.code, error.permanent) == ("BAD_RESPONSE", False)


async def test_a_bomb_does_not_go_off(egress, serve):
    """200 MB in 200 KB of gzip is refused after the first 100 KB of it."""
    bomb = gzip.compress(b"\0" * 200_000_000, 9)

    async def handler(request):
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    assert (await failure(egress, await serve(handler), max_bytes=100_000)).code == (
        "RESPONSE_TOO_LARGE"
    )


async def test_redirects_are_followed_to_a_limit(egress, serve):
    """Five redirects arrive, a sixth is a failure."""

    async def handler(request):
        left = int(request.query["n"])
        if left == 0:
            return web.Response(text="there")
        return web.Response(status=302, headers={"Location": f"?n={left - 1}"})

    url = await serve(handler)
    reply = await egress.fetch("US", Call(method="GET", url=f"{url}/x?n={MAX_REDIRECTS}"))
    assert (reply.body, reply.url) == (b"there", f"{url}/x?n=0")
    error = await failure(egress, f"{url}/x?n={MAX_REDIRECTS + 1}")
    assert (error.code, error.permanent) == ("BAD_RESPONSE", True)


@pytest.mark.parametrize(
    ("status", "method", "body"), [(303, "GET", b""), (302, "GET", b""), (307, "POST", b"{}")]
)
async def test_a_redirect_keeps_or_drops_the_body(egress, serve, status, method, body):
    """301, 302 and 303 turn a POST into a GET; 307 and 308 send it again."""
    seen = []

    async def handler(request):
        if request.path == "/a":
            return web.Response(status=status, headers={"Location": "/b"})
        seen.append((request.method, await request.read(), request.headers.get("x-key")))
        return web.Response()

    url = await serve(handler)
    headers = {"x-key": "k", "content-type": "application/json"}
    await egress.fetch("US", Call(method="POST", url=f"{url}/a", headers=headers, body=b"{}"))
    assert seen == [(method, body, "k")]


async def test_another_origin_gets_no_credentials(egress, serve):
    """A redirect to another origin takes along neither configured headers nor a body."""
    seen = []

    async def other(request):
        seen.append(request.headers)
        return web.Response()

    elsewhere = await serve(other)

    async def handler(request):
        return web.Response(status=int(request.query["s"]), headers={"Location": elsewhere})

    url = await serve(handler)
    headers = {"authorization": "Bearer k", "x-key": "k", "accept-language": "en"}
    await egress.fetch("US", Call(method="GET", url=f"{url}?s=302", headers=headers))
    assert seen[0]["accept-language"] == "en"
    assert not {"authorization", "x-key"} & {name.lower() for name in seen[0]}
    with pytest.raises(SurfaceError, match="body"):
        await egress.fetch("US", Call(method="POST", url=f"{url}?s=307", body=b"secret"))
    assert len(seen) == 1


async def test_no_failure_tells_a_secret(listen):
    """Whatever fails, the message holds neither the proxy's password nor the query."""
    gone = await listen(answering(b"SSH-2.0\r\n\r\n"))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        closed = bound.getsockname()[1]
        proxies = [
            f"{s}://u:hunter2@127.0.0.1:{p}" for s in ("http", "socks5") for p in (gone, closed)
        ]
        for proxy in proxies:
            way_out = Egress(regions={"US": RegionConfig(proxy=proxy)})
            error = await failure(
                way_out, f"http://127.0.0.1:{closed}/?key=hunter2", connect_seconds=0.2
            )
            await way_out.close()
            assert "hunter2" not in f"{error!r} {error.message} {error.__cause__}"


def test_every_status_is_typed():
    """No status slips through untyped."""
    assert all(refused(status, None).response_code == status for status in range(100, 600))
