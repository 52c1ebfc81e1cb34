"""A receiver of webhooks that keeps a log, in a thread of its own, and fails as it is told.

It checks every signature with the verifier of the library that knows nothing of ours. Beside it is
a neighbour at an address that is not open to clients: nobody may ever call that one.
"""

import asyncio
import base64
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import NamedTuple

import msgspec
from aiohttp import web
from anyio.from_thread import BlockingPortal, start_blocking_portal
from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "whsec_" + base64.b64encode(b"chaos" * 6).decode()
OPEN, PRIVATE = "127.0.0.1", "127.0.0.2"
OPEN_NETWORK = f"{OPEN}/32"
ACKNOWLEDGED = 204


class Received(NamedTuple):
    """A delivery as it came: which event, what it told, whether its signature is right.

    `status` is what it was answered; None: nothing.
    """

    event: str
    type: str
    job: str
    sound: bool
    status: int | None


Manner = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


async def acknowledge(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=ACKNOWLEDGED)


async def fail(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=500)


async def reset(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport:
        request.transport.abort()
    raise ConnectionResetError


async def hang(_: web.BaseRequest) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


class Receiver:
    """At `url`; `neighbour` has the paths of those who called where nobody may."""

    def __init__(self, portal: BlockingPortal) -> None:
        self.url = ""
        self.neighbour: list[str] = []
        self.received: list[Received] = []
        self._portal = portal
        self._manner: Manner = acknowledge
        self._held = asyncio.Event()
        self._open: Callable[[], Awaitable[None]]
        self._close: Callable[[], Awaitable[None]]
        self._elsewhere = ""

    def behave(self, manner: Manner = acknowledge) -> None:
        """How each delivery is answered from now on."""
        self._portal.call(self._held.clear)
        self._manner = manner

    async def redirect(self, _: web.BaseRequest) -> web.StreamResponse:
        """A manner: send them next door."""
        return web.Response(status=307, headers={"Location": self._elsewhere})

    async def hold(self, _: web.BaseRequest) -> web.StreamResponse:
        """A manner: keep whoever calls until `let_go`, and acknowledge then."""
        await self._held.wait()
        return web.Response(status=ACKNOWLEDGED)

    def let_go(self) -> None:
        """Acknowledge who is kept, and whoever calls from now on."""
        self._manner = acknowledge
        self._portal.call(self._held.set)

    def leave(self) -> None:
        """Nobody listens any more."""
        self._portal.call(self._close)

    def come_back(self) -> None:
        """At the same address."""
        self._portal.call(self._open)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        told = msgspec.json.decode(body)
        line = Received(told["id"], told["type"], told["job"]["id"], _sound(request, body), None)
        place = len(self.received)
        self.received.append(line)
        reply = await self._manner(request)
        self.received[place] = line._replace(status=reply.status)
        return reply

    async def _called_next_door(self, request: web.BaseRequest) -> web.StreamResponse:
        self.neighbour.append(request.path)
        return web.Response(status=ACKNOWLEDGED)

    @asynccontextmanager
    async def serving(self):
        """Both are listening; to be run in the portal."""
        async with AsyncExitStack() as stack:
            runner = await _running(stack, self.answer)
            door = _door(stack, OPEN)
            port = door.getsockname()[1]
            self.url = f"http://{OPEN}:{port}/told"
            sites: list[web.SockSite] = []

            async def come() -> None:
                sites.append(web.TCPSite(runner, OPEN, port, reuse_port=True))
                await sites[-1].start()

            async def leave() -> None:
                await sites.pop().stop()

            self._open, self._close = come, leave
            await come()
            other = await _running(stack, self._called_next_door)
            await web.TCPSite(other, PRIVATE, 0).start()
            self._elsewhere = f"http://{PRIVATE}:{other.addresses[0][1]}/next-door"
            yield


def _door(stack: AsyncExitStack, host: str) -> socket.socket:
    """A port kept for us: bound, not listening, shared with whoever of us listens."""
    kept = stack.enter_context(socket.socket())
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    kept.bind((host, 0))
    return kept


async def _running(stack: AsyncExitStack, handler: Manner) -> web.ServerRunner:
    server = web.Server(handler, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    return runner


def _sound(request: web.BaseRequest, body: bytes) -> bool:
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        Webhook(SECRET).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver, until the end."""
    with start_blocking_portal() as portal:
        receiver = Receiver(portal)
        with portal.wrap_async_context_manager(receiver.serving()):
            yield receiver
