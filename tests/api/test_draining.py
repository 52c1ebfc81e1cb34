"""An API process that leaves: who asked is answered, and no connection ends in a request's face."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests import factories
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
RUN = """
import sys
from orchestrator.api.server import serve
from orchestrator.settings import Settings
_, database, drain_seconds, fd = sys.argv
settings = Settings(database_url=database, drain_seconds=float(drain_seconds))
sys.exit(serve(settings, host="", port=0, fd=int(fd)))
"""
SEARCH = ("/v1/search?mode=sync", '{"query": "shoes", "surfaces": ["chatgpt"]}')
SURFACE = ("/v1/search/chatgpt", '{"prompt": "shoes"}')
PATIENCE_SECONDS = 30
LONG = 1000
"""Seconds of drain time: no test passes by waiting for it."""

pytestmark = pytest.mark.anyio


class Served:
    """An API process, and what it logs."""

    def __init__(self, process, address):
        self.process, self._address = process, address

    def connect(self):
        return http.client.HTTPConnection(*self._address, timeout=PATIENCE_SECONDS)

    def raw(self):
        return socket.create_connection(self._address, timeout=PATIENCE_SECONDS)

    def leave(self):
        """Tell it to stop, and wait until it has begun to."""
        self.process.terminate()
        self.word("api.draining")

    def word(self, event):
        assert any(event in line for line in self.process.stdout), f"it ended without {event}"

    def ended(self):
        return self.process.wait(timeout=PATIENCE_SECONDS)


@contextmanager
def serving(database, drain_seconds=LONG) -> Iterator[Served]:
    """A process with a socket of its own, which answers."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, database, str(drain_seconds), str(door.fileno())],
            pass_fds=[door.fileno()],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        served = Served(process, door.getsockname())
    try:
        with closing(served.connect()) as connection:
            assert ask(connection).status == 200
        yield served
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(connection, method="GET", path="/v1/health", body=None, **headers):
    """The response, read to its end."""
    connection.request(method, path, body, headers)
    said = connection.getresponse()
    said.text = said.read().decode()
    return said


@pytest.fixture
async def secret(registered, issue) -> str:
    return (await issue()).secret


class Call:
    """A sync call under way in a thread."""

    def __init__(self, served, secret, path, body):
        self._said = []
        self._connection = served.connect()
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        self._thread = threading.Thread(target=self._ask, args=(path, body, headers))
        self._thread.start()

    def _ask(self, path, body, headers):
        try:
            self._said.append(ask(self._connection, "POST", path, body, **headers))
        except OSError as error:
            self._said.append(error)
        finally:
            self._connection.close()

    def said(self):
        self._thread.join(PATIENCE_SECONDS)
        return self._said[0]


async def waits(connection):
    """Whether a caller has a place."""
    return await factories.scalar(connection, "SELECT count(*) FROM sync_wait") == 1


def test_a_request_on_a_connection_kept_alive_is_served_and_is_the_last_there(database):
    """Before, the connection stays; while the process leaves, the answer says that it closes."""
    with serving(database) as served, closing(served.connect()) as connection:
        assert ask(connection).getheader("Connection") is None
        served.leave()
        said = ask(connection)
        assert (said.status, said.getheader("Connection")) == (200, "close")
        assert served.ended() == 0


def test_a_connection_nobody_uses_ends_in_order_and_holds_nobody_up(database):
    """Its client reads an end, not a reset."""
    with serving(database) as served, served.raw() as idle:
        idle.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
        served.leave()
        assert served.ended() == 0
        said = b"".join(iter(lambda: idle.recv(65536), b""))
    assert said.startswith(b"HTTP/1.1 200")


def test_a_request_that_never_ends_holds_nobody_up(database):
    """Past the drain time it is cut off, and the process ends well."""
    with serving(database, drain_seconds=2) as served, served.raw() as slow:
        slow.sendall(b"POST /v1/search HTTP/1.1\r\nHost: x\r\n")
        served.leave()
        assert served.ended() == 0


@pytest.mark.parametrize("question", [SEARCH, SURFACE])
async def test_who_waits_without_a_preference_is_told_where_the_answer_will_be(
    database, secret, connection, question
):
    """It is the server that leaves: 202 with the job, `Location` and `Retry-After`, not a 504."""
    with serving(database, drain_seconds=2) as served:
        call = Call(served, secret, *question)
        await eventually(lambda: waits(connection))
        served.leave()
        said = call.said()
        assert served.ended() == 0
    job = json.loads(said.text)["job"]
    assert (said.status, job["status"]) == (202, "processing")
    assert said.getheader("Location") == f"/v1/jobs/{job['id']}"
    assert 1 <= int(said.getheader("Retry-After")) <= 60
    assert said.getheader("Connection") == "close"


async def test_whose_monitor_is_cut_off_is_told_that_its_job_goes_on(database, secret, connection):
    """In cloro's words, with where to read it: sent again it would be made twice."""
    with serving(database, drain_seconds=2) as served:
        call = Call(served, secret, "/v1/monitor/chatgpt", '{"prompt": "shoes"}')
        await eventually(lambda: waits(connection))
        served.leave()
        said = call.said()
        assert served.ended() == 0
    error = json.loads(said.text)["error"]
    assert (said.status, error["code"]) == (500, "INTERNAL_SERVER_ERROR")
    assert said.getheader("Location") == f"/v1/jobs/{error['details']['jobId']}"
    assert "its job goes on" in error["message"]
    assert await factories.scalar(connection, "SELECT count(*) FROM parent") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_does_not_wait_and_loses_nothing(
    database, secret, connection, number
):
    """The caller is cut off, its job is stored and goes on."""
    with serving(database) as served:
        call = Call(served, secret, *SEARCH)
        await eventually(lambda: waits(connection))
        served.leave()
        served.process.send_signal(number)
        assert served.ended() == 1
        assert isinstance(call.said(), OSError)
    states = await (await connection.execute("SELECT state FROM parent")).fetchall()
    assert states == [("processing",)]
