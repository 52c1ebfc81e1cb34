"""An upstream that keeps a log by its own clock, in a thread of its own, and fails as it is told.

It is the judge of what lanes promise: it knows nothing of the database, nor the database of it.
"""

import asyncio
import socket
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

from aiohttp import web
from anyio.from_thread import BlockingPortal, start_blocking_portal

from tests.e2e.judging import Call
from tests.waiting import eventually

PATIENCE_SECONDS = 60
PROMPT_SECONDS = 0.02


class Reply(NamedTuple):
    """What a call is answered: a status of 2xx carries an answer."""

    status: int = 200
    headers: Mapping[str, str] = {}


FINE = Reply()
Manner = Callable[[Call], Awaitable[Reply]]


def always(reply: Reply, *, seconds: float = PROMPT_SECONDS) -> Manner:
    """Answer so, after so long."""

    async def answer(_: Call) -> Reply:
        await asyncio.sleep(seconds)
        return reply

    return answer


class Hold:
    """Keeps whoever calls until it is let go, and answers then."""

    def __init__(self, reply: Reply = FINE) -> None:
        self._reply = reply
        self._over = asyncio.Event()

    async def __call__(self, _: Call) -> Reply:
        await self._over.wait()
        return self._reply

    def end(self) -> None:
        """To be called in the witness's loop."""
        self._over.set()


class Witness:
    """Surfaces at `<url>/<surface>?q=&cc=`; the header `X-Worker` says who calls.

    At `late_url` nobody listens before `listen`. Each lane answers at once until it is told how.
    """

    def __init__(self, portal: BlockingPortal) -> None:
        self.url = self.late_url = ""
        self._portal = portal
        self._calls: defaultdict[tuple[str, str], list[Call]] = defaultdict(list)
        self._manners: dict[tuple[str, str], Manner] = {}
        self._late: Callable[[], Awaitable[Any]]

    def behave(self, surface: str, country: str, manner: Manner) -> None:
        """How a lane answers calls from now on."""
        self._manners[surface, country] = manner

    def let_go(self, *held: Hold) -> None:
        """Answer who is kept, and whoever calls from now on."""
        for hold in held:
            self._portal.call(hold.end)

    def listen(self) -> None:
        """Be there at the late address too."""
        self._portal.call(self._late)

    def of(self, surface: str, country: str) -> list[Call]:
        """The calls of a lane so far, in order of arrival."""
        return list(self._calls[surface, country])

    def open(self, surface: str, country: str) -> list[Call]:
        """Those that are not answered yet."""
        return [call for call in self.of(surface, country) if call.ended is None]

    async def until(self, seen: Callable[[], Any]) -> None:
        """Wait for something to be in the log."""

        async def look() -> bool:
            return bool(seen())

        await eventually(look, seconds=PATIENCE_SECONDS)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        lane = request.path.removeprefix("/"), request.query["cc"]
        call = Call(
            arrived=time.time(),
            worker=request.headers["X-Worker"],
            query=request.query["q"],
        )
        self._calls[lane].append(call)
        try:
            reply = await self._manners.get(lane, always(FINE))(call)
            call.status = reply.status
        finally:  # canceled when the caller is gone
            call.ended = time.time()
        said = {"answer": f"{call.query} in {lane[1]}"}
        return web.json_response(said, status=reply.status, headers=reply.headers)

    @asynccontextmanager
    async def serving(self):
        """Listening at the first address; to be run in the portal."""
        server = web.Server(self.answer, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        with socket.socket() as late:
            late.bind(("127.0.0.1", 0))  # held, so that nobody else gets it
            self._late = web.SockSite(runner, late).start
            self.late_url = f"http://127.0.0.1:{late.getsockname()[1]}"
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
                yield
            finally:
                await runner.cleanup()


@contextmanager
def witnessing() -> Iterator[Witness]:
    """A witness, until the end."""
    with start_blocking_portal() as portal:
        witness = Witness(portal)
        with portal.wrap_async_context_manager(witness.serving()):
            yield witness
