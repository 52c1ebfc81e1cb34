"""Bytes that are barely HTTP, or not at all, on a socket of a real server process."""

import asyncio
import contextlib
import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from psycopg import AsyncConnection, sql

from admission import keys
from orchestrator.api import VERSION
from orchestrator.api.codes import STATUSES, Code
from orchestrator.store import surfaces
from orchestrator.surfaces import SurfaceDescriptor
from tests.processes import REPOSITORY

PATIENCE_SECONDS = 30
LARGE = b"50000\r\n" + b" " * 0x50000 + b"\r\n0\r\n\r\n"
RUN = """
import sys
from orchestrator.api.server import serve
from orchestrator.settings import Settings
settings = Settings(database_url=sys.argv[1], drain_seconds=1, sync_wait=0.05)
sys.exit(serve(settings, host="127.0.0.1", port=0, fd=int(sys.argv[2])))
"""


class Answer(NamedTuple):
    """A reply: status, header lines in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """Of the error, whose shape is checked."""
        error = json.loads(self.body)["error"]
        assert error.keys() == {"code", "message", "status", "timestamp", "requestId", "details"}
        assert error["status"] == self.status
        assert error["requestId"] == self.headers["x-request-id"]
        return error["code"]


@pytest.fixture(scope="module")
def database_url(server, maintenance, template) -> str:
    """A database of this module's own; the session drops it."""
    name = f"{template}_{secrets.token_hex(4)}"
    clone = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    maintenance.execute(clone.format(sql.Identifier(name), sql.Identifier(template)))
    return server(name)


@pytest.fixture(scope="module")
def key(database_url) -> bytes:
    """The header of a live key, where one surface is registered."""

    async def make() -> str:
        async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
            site = SurfaceDescriptor(name="site", adapter="http", method="http", options_schema={})
            await surfaces.register(connection, [site])
            return (await keys.create(connection, "raw")).secret

    return b"Authorization: Bearer " + asyncio.run(make()).encode()


@pytest.fixture(scope="module")
def address(database_url, tmp_path_factory) -> Iterator[tuple[str, int]]:
    """Where a server process listens; at the end it has met no surprise."""
    said = tmp_path_factory.mktemp("server") / "stderr"
    with socket.create_server(("127.0.0.1", 0)) as door, said.open("wb") as stderr:
        command = [sys.executable, "-c", RUN, database_url, str(door.fileno())]
        process = subprocess.Popen(
            command, cwd=REPOSITORY, pass_fds=[door.fileno()], stdout=stderr, stderr=stderr
        )
        try:
            yield door.getsockname()
        finally:
            process.terminate()
            assert process.wait(PATIENCE_SECONDS) == 0
    assert "Traceback" not in said.read_text()
    assert "request.failed" not in said.read_text()


@pytest.fixture
def connected(address) -> Iterator[socket.socket]:
    with socket.create_connection(address, PATIENCE_SECONDS) as opened:
        yield opened


def heard(connected: socket.socket) -> bytes:
    """All the server says until it hangs up."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connected.recv(65_536):
            said += piece
    return said


def answer(said: bytes) -> Answer:
    """The one reply in these bytes."""
    head, _, body = said.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert len(body) == int(headers["content-length"])
    return Answer(int(first.split(" ")[1]), headers, body)


def depth(address: tuple[str, int], key: bytes) -> int:
    """Of the key's admission queue."""
    with socket.create_connection(address, PATIENCE_SECONDS) as opened:
        opened.sendall(get(key, path=b"/v1/async/status"))
        return json.loads(answer(heard(opened)).body)["admissionQueue"]["depth"]


def get(*lines: bytes, path: bytes = b"/v1/health") -> bytes:
    return b"\r\n".join(
        [b"GET %s HTTP/1.1" % path, b"Host: t", *lines, b"Connection: close", b"", b""]
    )


def post(*lines: bytes, body: bytes = b"") -> bytes:
    head = [b"POST /v1/search HTTP/1.1", b"Host: t", b"Connection: close", *lines]
    return b"\r\n".join([*head, b"", body])


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /v1/health HTTP/9.9\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GETS /v1/health HTTP/1.1\r\n\r\n",
        b"CONNECT t:1 HTTP/1.1\r\nHost: t\r\n\r\n",
        get(path=b"/v1/\xff"),
        get(path=b"/v1/h\0ealth"),
        get(b"X-Request-ID: a\rX-Evil: 1"),
        get(b"X-Request-ID: a\0b"),
        get(b"X Space: 1"),
        get(b": 1"),
        post(b"Content-Length: -1"),
        post(b"Content-Length: 1e3"),
        post(b"Content-Length: 99999999999999999999999999"),
        post(b"Content-Length: 2", b"Content-Length: 3", body=b"{}"),
        post(b"Content-Length: 2", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    ],
)
def test_what_is_not_http_is_refused_in_the_one_shape(connected, sent):
    """400 VALIDATION_FAILED with an id, and the connection ends; nothing sent comes back."""
    connected.sendall(sent)
    refused = answer(heard(connected))
    assert (refused.status, refused.code) == (400, "VALIDATION_FAILED")
    assert refused.headers["connection"] == "close"
    assert refused.headers["x-parallax-version"] == VERSION
    assert "x-evil" not in refused.headers


def test_a_head_without_end_is_not_read_to_its_end(connected):
    """A client that sends headers for ever is cut off; the kernel may have buffered some."""
    connected.sendall(b"GET /v1/health HTTP/1.1\r\nX-Long: ")
    with pytest.raises(OSError, match=r"reset|[Bb]roken"):
        connected.sendall(b"a" * 64_000_000)


def test_a_long_head_with_an_end_is_read(connected):
    """A path and a header of 30 KB each are odd and allowed."""
    connected.sendall(get(b"X-Request-ID: " + b"a" * 30_000, path=b"/v1/" + b"b" * 30_000))
    missing = answer(heard(connected))
    assert (missing.status, missing.code) == (404, "NOT_FOUND")
    assert len(missing.headers["x-request-id"]) < 128


@pytest.mark.parametrize(
    ("lines", "body", "code"),
    [
        ([b"Content-Length: 300000"], b"", "PAYLOAD_TOO_LARGE"),
        ([b"Transfer-Encoding: chunked"], LARGE, "PAYLOAD_TOO_LARGE"),
        ([b"Transfer-Encoding: chunked"], b"2\r\n{}\r\n0\r\n\r\n", "VALIDATION_FAILED"),
        ([b"Transfer-Encoding: chunked"], b"zz\r\n{}\r\n", "VALIDATION_FAILED"),
        ([b"Transfer-Encoding: gzip"], b"", "VALIDATION_FAILED"),
        ([b"Content-Length: 0"], b"", "VALIDATION_FAILED"),
        ([], b"", "VALIDATION_FAILED"),
        ([b"Content-Type: text/plain", b"Content-Length: 1"], b"1", "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
def test_bodies_in_every_framing_are_bounded(connected, key, lines, body, code):
    """Announced or in chunks, a body is read to 256 KiB and no further; an empty one is a fault."""
    with contextlib.suppress(ConnectionError):  # the answer may come before the end of the question
        connected.sendall(post(key, *lines, body=body))
    refused = answer(heard(connected))
    assert (refused.status, refused.code) == (STATUSES[Code(code)], code)


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ([b"Content-Length: 100"], b'{"query":'),
        ([b"Transfer-Encoding: chunked"], b'9\r\n{"qu'),
        ([b"Transfer-Encoding: chunked"], b'9\r\n{"query":\r\n'),
    ],
)
def test_a_body_cut_off_stores_nothing_and_harms_nobody(address, key, lines, body):
    """The caller left in mid-sentence: the server goes on, and no job was made of the half."""
    before = depth(address, key)
    with socket.create_connection(address, PATIENCE_SECONDS) as leaving:
        leaving.sendall(post(key, *lines, body=body))
        leaving.shutdown(socket.SHUT_WR)
        heard(leaving)
    assert depth(address, key) == before


def test_nothing_of_a_request_stands_in_a_header_of_the_reply(connected, key):
    """Location is the job's own path, whatever was asked for, and the id is the server's own."""
    body = b'{"query":"a\\r\\nX-Evil: 1","surfaces":["site"],"idempotencyKey":"k\\r\\nX-Evil: 1"}'
    lines = (b"X-Request-ID: a%0d%0aX-Evil: 1", b"Content-Length: %d" % len(body))
    connected.sendall(post(key, *lines, body=body))
    accepted = answer(heard(connected))
    assert accepted.status == 202
    assert accepted.headers["location"] == f"/v1/jobs/{json.loads(accepted.body)['jobId']}"
    assert not [line for line in accepted.headers.items() if "evil" in str(line).lower()]
