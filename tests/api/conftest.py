"""The real application on a database of its own, with two surfaces and a key."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest
from litestar import Litestar
from psycopg import AsyncConnection

from admission import keys
from admission.keys import Issued
from admission.limits import Limits
from orchestrator.api import services
from orchestrator.api.app import create_app
from orchestrator.api.traffic import Traffic
from orchestrator.fanout import fan_out
from orchestrator.settings import Settings
from orchestrator.store import children, nodes, surfaces
from orchestrator.store.children import Fence
from orchestrator.store.nodes import NewNode
from orchestrator.surfaces import SurfaceDescriptor

OPTIONS = {
    "type": "object",
    "properties": {"depth": {"type": "integer", "multipleOf": 0.5}, "mood": {"enum": ["dry"]}},
    "additionalProperties": False,
}
CHATGPT = SurfaceDescriptor(
    name="chatgpt",
    adapter="simulator",
    method="simulator",
    options_schema=OPTIONS,
    cloro_tasks=("CHATGPT",),
)
SITE = SurfaceDescriptor(
    name="site", adapter="http", method="http", options_schema={}, countries=("GB", "US")
)

Opened = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


class Worker(NamedTuple):
    """A node that claims on demand."""

    connection: AsyncConnection
    node: int

    async def claim(self, slots: int = 100) -> list[Fence]:
        """Fan out, then claim; the fences of what was claimed, in ordinal order."""
        await fan_out(self.connection)
        claimed = await children.claim(
            self.connection,
            node=self.node,
            token=secrets.randbits(62),
            slots=slots,
            surfaces=["chatgpt", "site"],
        )
        fences = [Fence(child.parent_id, child.ordinal, child.claim) for child in claimed]
        return sorted(fences, key=lambda fence: fence.ordinal)


@pytest.fixture
async def registered(connection) -> None:
    await surfaces.register(connection, [CHATGPT, SITE])


@pytest.fixture
def issue(connection) -> Callable[..., Awaitable[Issued]]:
    """Makes a key with these limits, the rest as of a new one."""

    async def make(**limits: Any) -> Issued:
        name = f"key-{secrets.token_hex(4)}"
        return await keys.create(connection, name, limits=Limits(**limits))

    return make


@pytest.fixture
def settings(database) -> Settings:
    return Settings(database_url=database)


@pytest.fixture(scope="session")
def assembled() -> Litestar:
    """The application, not open, made once: its routes take longer to put together than a test."""
    return create_app(Settings(database_url="postgresql:///none"))


@pytest.fixture
async def app(anyio_backend, assembled, settings) -> AsyncIterator[Litestar]:
    """The application, open: its services, which are all it remembers, are this test's own."""
    async with services.opened(settings, settings.database_url, traffic=Traffic()) as here:
        assembled.state["services"] = here
        yield assembled
        del assembled.state["services"]


@pytest.fixture
def opened(app) -> Opened:
    """Opens a client of the application, with this secret or none."""

    @asynccontextmanager
    async def make(secret: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://parallax.test", headers=headers
        ) as client:
            yield client

    return make


@pytest.fixture
async def anonymous(opened) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    async with opened() as client:
        yield client


@pytest.fixture
async def client(registered, issue, opened) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key of its own; both surfaces are registered."""
    async with opened((await issue()).secret) as made:
        yield made


@pytest.fixture
async def worker(connection, registered) -> Worker:
    """A live node serving both surfaces."""
    new = NewNode(host="test", pid=1, slots=100, surfaces=["chatgpt", "site"])
    return Worker(connection, await nodes.register(connection, new))
