"""A server that leaves well: nobody who asked it is cut off, and nobody waits for it in vain.

The door closes; another process on its socket takes who comes. Streams and long polls end at once,
and go on at another process. Requests under way end, as do those that still come on connections
kept alive; those who wait for a job have their answer if it comes within the drain time, else, a
second before that is over, are told where it will be. Then what is left is cut off.
"""

import asyncio
import os
import socket
from types import FrameType
from typing import cast

import structlog
import uvicorn
from litestar import Litestar

from orchestrator import lifeline
from orchestrator.api.protocol import Protocol, State
from orchestrator.api.services import Services
from orchestrator.errors import SUPERVISED

ANSWER_SECONDS = 1.0
"""Before the drain time is over those who still wait are told where to look."""
LOOK_SECONDS = 0.05
_log = structlog.get_logger()


class Server(uvicorn.Server):
    """uvicorn's, except for how it begins and ends."""

    def __init__(self, config: uvicorn.Config, app: Litestar, *, drain_seconds: float) -> None:
        super().__init__(config)
        self.server_state: State = State()
        self._app = app
        self._drain_seconds = drain_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the door, and tell the supervisor."""
        await super().startup(sockets)
        self._life = asyncio.create_task(lifeline.keep())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Leave; told so again, end at once: whatever was answered is stored.

        A supervisor is told twice instead, and kills: those it starts hear of one stop from it and
        from a service manager that tells all processes.
        """
        if self.should_exit and SUPERVISED not in os.environ:
            os._exit(1)
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the door, let requests under way end, cut off what is left, close the rest."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._drain_seconds
        _log.info("api.draining", connections=len(self._connections), waiting=len(self._here.waits))
        self.server_state.leaving = True
        self._here.release()
        for door in (*self.servers, *(sockets or ())):
            door.close()
        for connection in self._connections:
            connection.leave()
        answering = loop.call_at(ends - ANSWER_SECONDS, self._here.waits.release)
        try:
            async with asyncio.timeout_at(ends):
                await self._quiet()
        except TimeoutError:
            await self._cut_off()
        answering.cancel()
        await self.lifespan.shutdown()
        self._life.cancel()
        _log.info("api.left")

    async def _quiet(self) -> None:
        while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - uvicorn sets no event
            await asyncio.sleep(LOOK_SECONDS)

    async def _cut_off(self) -> None:
        """Who is too slow to read, or asks what takes too long."""
        tasks = list(self.server_state.tasks)
        _log.warning("api.cuts_off", connections=len(self._connections), requests=len(tasks))
        for connection in self._connections:
            connection.abort()
        for stuck in await _unended(tasks, LOOK_SECONDS):
            stuck.cancel()
        await _unended(tasks, ANSWER_SECONDS)

    @property
    def _connections(self) -> list[Protocol]:
        return cast("list[Protocol]", list(self.server_state.connections))

    @property
    def _here(self) -> Services:
        return cast("Services", self._app.state["services"])


async def _unended(tasks: list[asyncio.Task[None]], seconds: float) -> set[asyncio.Task[None]]:
    """Those of them that have not ended after so long."""
    return (await asyncio.wait(tasks, timeout=seconds))[1] if tasks else set()
