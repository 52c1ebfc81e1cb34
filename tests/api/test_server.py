"""One API process: it shares its socket, and ends well."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from orchestrator.api.server import serve
from orchestrator.errors import ParallaxError
from orchestrator.settings import Settings

ROOT = Path(__file__).parents[2]
RUN = """
import sys
from orchestrator.api.server import serve
from orchestrator.settings import Settings
settings = Settings(database_url=sys.argv[1], drain_seconds=5)
sys.exit(serve(settings, host="127.0.0.1", port=0, fd=int(sys.argv[2])))
"""


@contextmanager
def processes(database, n) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """`n` API processes on one inherited socket."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fd = listening.fileno()
        started = [
            subprocess.Popen(
                [sys.executable, "-c", RUN, database, str(fd)], pass_fds=[fd], cwd=ROOT
            )
            for _ in range(n)
        ]
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", started
        finally:
            for process in started:
                process.kill()
                process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_told_to_stop_exits_0(database, number):
    """SIGTERM and Ctrl-C end the server with success."""
    with processes(database, 1) as (url, (process,)):
        assert httpx.get(f"{url}/v1/health", timeout=30).status_code == 200
        process.send_signal(number)
        assert process.wait(timeout=30) == 0


def test_two_processes_share_a_socket(database):
    """An inherited listening socket serves as long as one of its processes lives."""
    with processes(database, 2) as (url, (first, second)):
        assert httpx.get(f"{url}/v1/health", timeout=30).status_code == 200
        first.terminate()
        first.wait(timeout=30)
        assert httpx.get(f"{url}/v1/health", timeout=30).status_code == 200
        second.terminate()
        assert second.wait(timeout=30) == 0


def test_a_port_in_use_is_said_in_one_line():
    """`serve` names the address it could not get."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ParallaxError, match=f"127.0.0.1 port {port}"):
            serve(Settings(database_url="postgresql:///none"), host="127.0.0.1", port=port)
