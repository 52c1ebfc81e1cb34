"""One API process: uvicorn on uvloop and httptools."""

import signal
import socket
import sys
from types import FrameType

import uvicorn

from orchestrator import listening
from orchestrator.api.app import create_app
from orchestrator.garbage import spared
from orchestrator.settings import Settings


def serve(settings: Settings, *, host: str, port: int, fd: int | None = None) -> int:
    """Serve until SIGTERM or SIGINT, finish what is under way, and return the exit code.

    `fd` is an inherited listening socket, which several processes may share; then `host` and `port`
    are only words. `settings.database_url` must be set. A port in use is a `ParallaxError`.
    """
    door = listening.listen(host, port) if fd is None else socket.socket(fileno=fd)
    config = uvicorn.Config(
        create_app(settings),
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # nothing here asks for the caller's address
        timeout_graceful_shutdown=round(settings.drain_seconds),
    )
    server = uvicorn.Server(config)
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
