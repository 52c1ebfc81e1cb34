"""The cookbook of the README: a secret, a job that tells, its receiver, and telling again."""

import asyncio
import json
import re
import socket
import stat
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.e2e import processes
from tests.e2e.processes import Server
from tests.processes import REPOSITORY
from tests.waiting import eventually

pytestmark = pytest.mark.anyio
CONFIGURATION = """
[surfaces.chatgpt]
adapter = "simulator"
options.latency_ms = 1
"""
RECIPE = re.compile(r"```python\n(import os\nfrom http\.server .*?)```", re.DOTALL)
REGIONS = ["US", "GB"]


@pytest.fixture
async def server(tmp_path) -> AsyncIterator[Server]:
    """A new machine's: its own database, its own secret key, loopback open to webhooks."""
    made = processes.configured(tmp_path, CONFIGURATION)
    made.environment["PARALLAX_ALLOW_NETWORKS"] = "127.0.0.0/8"
    key = await made.command("keys", "create", "told", "--json")
    made.secret = json.loads(key)["key"]
    async with made.up():
        made.environment |= {"PARALLAX_URL": made.url, "PARALLAX_API_KEY": made.secret}
        yield made


class Receiver:
    """The README's receiver, and what it prints."""

    def __init__(self, process: Process, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self._process = process
        self.events: list[list[str]] = []

    async def follow(self) -> None:
        async for line in self._process.stdout:
            self.events.append(line.decode().split())

    async def has(self, events: int) -> None:
        """Return once so many were printed."""

        async def printed() -> bool:
            return len(self.events) >= events

        await eventually(printed, seconds=60)


async def receiver(secret: str) -> tuple[Receiver, Process]:
    """Run what the README says, on a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (recipe,) = RECIPE.findall((REPOSITORY / "README.md").read_text())
    process = await create_subprocess_exec(
        sys.executable,
        "-u",
        "-c",
        recipe.replace("9000", str(port)),
        env={"WEBHOOK_SECRET": secret},
        stdout=PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return Receiver(process, port), process


async def test_the_cookbook_works(server):
    """Signed, verified, acknowledged, listed, and sent again: one event, ten lines, real parts."""
    async with server.client(server.secret) as client:
        made = await client.create_webhook_secret()
        heard, process = await receiver(made.secret)
        following = asyncio.create_task(heard.follow())
        job = await client.submit("shoes", surfaces=["chatgpt"], regions=REGIONS, webhook=heard.url)
        await heard.has(3)
        types = Counter(event[1] for event in heard.events)
        assert types == {"job.completed": 2, "parent.completed": 1}
        assert {event[2].partition(".")[0] for event in heard.events} == {job.job_id}

        listed = json.loads(await server.command("deliveries", "list", "--json"))
        assert {one["eventId"] for one in listed} == {event[0] for event in heard.events}
        await server.command("deliveries", "replay", listed[0]["id"])
        await heard.has(4)
        assert heard.events[3][0] == listed[0]["eventId"]
        said = await server.command("deliveries", "replay", "--since", "1h", "--json")
        assert json.loads(said) == {"matched": 3}
        await heard.has(7)
        assert Counter(Counter(event[0] for event in heard.events).values()) == {2: 2, 3: 1}

        await client.delete(job.job_id)
        assert json.loads(await server.command("deliveries", "list", "--json")) == []
    process.terminate()
    await following
    await process.wait()
    key = server.place.data_dir / "secret.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert server.faults() == []
