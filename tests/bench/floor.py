"""How fast this machine is just now: requests a second for a constant from a bare Litestar process.

The bars were set on a machine that answers 31,000 of these a second. Machines differ, and a shared
one differs from minute to minute, so each benchmark is put beside this floor, measured around it.
"""

import asyncio
import socket
import subprocess
import sys

import uvicorn
import uvloop
from litestar import Litestar, get

from orchestrator import listening
from tests.bench import loading

REFERENCE = 31_000.0
"""Constants a second on the machine the bars were set on."""
COUNT = 10_000


@get("/")
async def constant() -> dict[str, str]:
    """As little as can be asked."""
    return {"status": "ok"}


def measure() -> float:
    """Constants a second now, 64 connections."""
    with listening.listen("127.0.0.1", 0) as door:
        command = [sys.executable, "-m", "tests.bench.floor", str(door.fileno())]
        with subprocess.Popen(command, pass_fds=[door.fileno()]) as process:
            try:
                ask = loading.request("GET", "/", "none")
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    for count in (COUNT // 10, COUNT):  # the first warms up
                        answered = runner.run(
                            loading.load(
                                listening.url(door), lambda _: ask, count=count, connections=64
                            )
                        )
            finally:
                process.terminate()
    return answered.rate


if __name__ == "__main__":
    config = uvicorn.Config(
        Litestar([constant], openapi_config=None, logging_config=None),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
