"""One API process: uvicorn on uvloop and httptools."""

import asyncio
import signal
import socket
import sys
from types import FrameType
from typing import cast

import uvicorn
from litestar import Litestar

from orchestrator import listening
from orchestrator.api.app import create_app
from orchestrator.api.protocol import Protocol
from orchestrator.api.services import Services
from orchestrator.garbage import spared
from orchestrator.settings import Settings

ANSWER_SECONDS = 1.0
"""Before the drain time is over those who still wait are told where to look."""


class _Server(uvicorn.Server):
    """Ends like uvicorn's, except that whoever waits is answered before anybody is cut off."""

    def __init__(self, config: uvicorn.Config, app: Litestar) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the door, let requests under way end, cut off what is left, close the rest.

        Streams and long polls go on at another process: they end at once.
        """
        self._services.release()
        patience = (self.config.timeout_graceful_shutdown or 0) - ANSWER_SECONDS
        answer = self._services.waits.release
        releasing = asyncio.get_running_loop().call_later(patience, answer)
        await super().shutdown(sockets)
        releasing.cancel()

    @property
    def _services(self) -> Services:
        return cast("Services", self._app.state["services"])


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
        timeout_graceful_shutdown=max(round(settings.drain_seconds), round(ANSWER_SECONDS)),
    )
    server = _Server(config, app)
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
