"""The server that is spoken to: real processes, on a database of their own.

Two API processes stand on one worker: the second hardly waits for anything, and tells Rodin's
clients only of their own work.
"""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from psycopg import AsyncConnection

from admission import keys
from admission.keys import Issued, Role
from admission.limits import Limits
from orchestrator import operating
from orchestrator.store import surfaces
from orchestrator.surfaces import SurfaceDescriptor
from tests.bench.stack import Stack
from tests.contract.spoken.receiver import Receiver, receiving

CONFIGURATION = """
# What ends takes a moment, in which a task that was made can be read as one that waits.
[surfaces.chatgpt]
adapter = "simulator"
credits = 5
rodin_name = "rodin.mesh"
[surfaces.chatgpt.options]
answer_chars = 60
latency_ms = 100

[surfaces.perplexity]
adapter = "simulator"
credits = 3
[surfaces.perplexity.options]
answer_chars = 60
latency_ms = 100

[surfaces.gemini]            # never answers
adapter = "simulator"
timeout = "15m"
options = {latency_ms = 600_000}

[surfaces.grok]              # always refuses
adapter = "simulator"
credits = 2
options = {permanent_rate = 1, latency_ms = 100}

[surfaces.copilot]           # never shows anything
adapter = "simulator"
credits = 1
options = {absent_rate = 1, latency_ms = 100}

[cloro.tasks]
AIMODE = "perplexity"

[queues.emails]
attempts = 2
"""
MAPS = SurfaceDescriptor(
    name="maps",
    adapter="maps",
    method="http",
    options_schema={},
    countries=("GB", "US"),
    cloro_tasks=("GOOGLE_NEWS",),
)
"""A surface that only two countries have, whose worker has left."""
PAUSED = ("chatgpt", "AQ")
"""The lane that an operator has paused."""
ENVIRONMENT = {
    "PARALLAX_SECRET_KEY": "what secrets are sealed with here",
    "PARALLAX_ALLOW_NETWORKS": "127.0.0.0/8",
    "PARALLAX_DRAIN_SECONDS": "0",
}
IMPATIENT = {"PARALLAX_SYNC_WAIT": "0.1", "PARALLAX_RODIN_SCOPE": "key"}


class Stage(NamedTuple):
    """Where the server is, where its database is, and whom it may call."""

    url: str
    impatient_url: str
    database: str
    receiver: Receiver

    async def key(
        self, limits: Limits, *, role: Role = "client", credits_left: int | None = None
    ) -> Issued:
        """A new key."""
        async with await AsyncConnection.connect(self.database) as connection:
            name = f"client-{secrets.token_hex(4)}"
            issued = await keys.create(connection, name, limits=limits, role=role)
            await keys.set_credits(connection, issued.key, credits_left)
        return issued


@contextmanager
def standing(database: str, folder: Path) -> Iterator[Stage]:
    """The server, until the end of the block."""
    with ExitStack() as exits:
        environment = exits.enter_context(pytest.MonkeyPatch.context())
        receiver = exits.enter_context(receiving())
        stack = Stack(database, folder, exits)
        stack.config(CONFIGURATION)
        for name, value in ENVIRONMENT.items():
            environment.setenv(name, value)
        stack.worker(slots=100)
        url = stack.api()
        for name, value in IMPATIENT.items():
            environment.setenv(name, value)
        impatient = stack.api()
        stack.until("SELECT EXISTS (SELECT FROM node WHERE kind = 'worker')")
        asyncio.run(_furnish(database))
        yield Stage(url, impatient, database, receiver)


async def _furnish(database: str) -> None:
    async with await AsyncConnection.connect(database) as connection:
        await surfaces.register(connection, [MAPS])
        await operating.pause(connection, *PAUSED)
