"""An upstream that logs each call by its own clock: when it arrived, when it was answered.

`python -m tests.bench.witness SECONDS` answers each after so long; it prints its port, and on
SIGTERM its log. On Linux all processes of a host share the monotonic clock.
"""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import uvloop

from tests.bench.upstream import ANSWER


class Call(NamedTuple):
    """One call: the lane `<surface>/<country>`, what was asked, and when, in monotonic seconds."""

    lane: str
    query: str
    arrived: float
    ended: float


class Witness:
    """A witness process; `port` is where it listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._stdout.readline())

    def calls(self) -> list[Call]:
        """All calls, in order of arrival; it hears no more after this."""
        self._process.terminate()
        return [Call(*call) for call in json.loads(self._stdout.read())]

    @property
    def _stdout(self):
        assert self._process.stdout
        return self._process.stdout


@contextmanager
def witnessing(seconds: float) -> Iterator[Witness]:
    """A witness that answers after so long, until the end."""
    command = [sys.executable, "-m", "tests.bench.witness", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Witness(process)
        finally:
            process.terminate()
            process.communicate()


def surface(name: str, port: int, settings: str) -> str:
    """The configuration of a surface whose upstream is the witness at this port."""
    return f"""
[surfaces.{name}]
adapter = "http"
{settings}
[surfaces.{name}.options]
url = "http://127.0.0.1:{port}/{name}?q={{query}}&cc={{country}}"
format = "json"
text = "answer.text"
"""


class _Caller(asyncio.Protocol):
    """A connection; it has one call at a time."""

    def __init__(self, log: list[Call], seconds: float) -> None:
        self._log = log
        self._seconds = seconds
        self._seen = b""

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        self._seen += data
        *heads, self._seen = self._seen.split(b"\r\n\r\n")
        for head in heads:
            call = _read(head)
            self._log.append(call)
            number = len(self._log) - 1
            asyncio.get_running_loop().call_later(self._seconds, self._answer, number)

    def _answer(self, number: int) -> None:
        self._log[number] = self._log[number]._replace(ended=time.monotonic())
        self._transport.write(ANSWER)


def _read(head: bytes) -> Call:
    now = time.monotonic()
    target = urlsplit(head.split(b" ", 2)[1].decode())
    asked = parse_qs(target.query)
    return Call(f"{target.path[1:]}/{asked['cc'][0]}", asked["q"][0], now, float("inf"))


async def _serve(seconds: float) -> list[Call]:
    log: list[Call] = []
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    server = await loop.create_server(lambda: _Caller(log, seconds), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await over.wait()
    return log


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(_serve(float(sys.argv[1])))))
