"""One API process: uvicorn on uvloop and httptools."""

import signal
import socket
import sys
from types import FrameType

import uvicorn

from orchestrator import listening
from orchestrator.api.app import create_app
from orchestrator.api.draining import ANSWER_SECONDS, Server
from orchestrator.api.protocol import Protocol
from orchestrator.garbage import spared
from orchestrator.settings import Settings

KEEP_SECONDS = 75
"""How long a connection that nobody uses is kept alive.

Longer than those who reuse it keep it (httpx 5 s, aiohttp 15 s, the usual proxy 60 s): the side
that uses a connection should be the one that gives it up, or a request meets a connection that is
just being closed, and a POST is not sent twice. A server that leaves does not wait for that.
"""


def serve(settings: Settings, *, host: str, port: int, fd: int | None = None) -> int:
    """Serve until SIGTERM or SIGINT, finish what is under way, and return the exit code.

    Callers who wait are answered before the drain time is over, which is a second at least.
    `fd` is an inherited listening socket, which several processes may share; then `host` and `port`
    are only words. `settings.database_url` must be set. A port in use is a `ParallaxError`.
    """
    door = listening.listen(host, port) if fd is None else socket.socket(fileno=fd)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=Protocol,
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # nothing here asks for the caller's address
        timeout_keep_alive=KEEP_SECONDS,
    )
    server = Server(config, app, drain_seconds=max(settings.drain_seconds, ANSWER_SECONDS))
    spared()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        server.run(sockets=[door])
    except SystemExit as end:
        return 0 if end.code is None else 1
    finally:
        door.close()
    return 0 if server.started else 1


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """End at once: the server's own handlers are in place only while it runs, and finish first."""
    sys.exit()
