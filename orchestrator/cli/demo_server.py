"""A whole server for the demo: `parallax up` in a temporary directory, stopped whatever happens."""

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from typing import Any

import anyio
import msgspec
from anyio.abc import Process

from orchestrator.client import ApiError, Client
from orchestrator.errors import ParallaxError
from orchestrator.surfaces import Discreet

START_SECONDS = 60
STOP_SECONDS = 30
LAST_LINES = 15


@dataclass(frozen=True)
class Server:
    """A running server: where it answers, and the environment of commands that belong to it."""

    url: str
    environment: dict[str, str] = field(repr=False)

    async def command(self, *arguments: str) -> bytes:
        """Run `parallax` with these arguments; its stdout."""
        done = await anyio.run_process(
            [sys.executable, "-m", "orchestrator", *arguments], env=self.environment, check=False
        )
        if done.returncode:
            raise ParallaxError(done.stderr.decode(errors="replace").strip())
        return done.stdout


class _Made(Discreet, frozen=True, kw_only=True):
    key: str

    def _shown(self) -> dict[str, Any]:
        return {}


async def make_key(server: Server, name: str, *options: str) -> str:
    """A new key's secret."""
    printed = await server.command("keys", "create", name, *options, "--json")
    return msgspec.json.decode(printed, type=_Made).key


@asynccontextmanager
async def running(directory: Path, configuration: str) -> AsyncIterator[Server]:
    """A server with this `parallax.toml`, its data in `directory`; it answers and has a worker."""
    port = _free_port()
    environment = _environment(directory, port)
    await anyio.Path(environment["PARALLAX_CONFIG"]).write_text(configuration)
    server = Server(f"http://127.0.0.1:{port}", environment)
    log = directory / "server.log"
    with log.open("wb") as said:
        process = await anyio.open_process(
            [sys.executable, "-m", "orchestrator", "up"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,  # Ctrl-C is for the demo, which then stops the server in order
        )
    try:
        await _ready(server, process, log)
        yield server
    finally:
        with anyio.CancelScope(shield=True):
            await _stop(process)


async def _ready(server: Server, process: Process, log: Path) -> None:
    with anyio.move_on_after(START_SECONDS):
        async with Client(url=server.url) as client:
            while process.returncode is None:
                try:
                    await client.health(ready=True)
                except ApiError:
                    await anyio.sleep(0.1)
                else:
                    return
    said = await anyio.Path(log).read_text(errors="replace")
    last = said.splitlines()[-LAST_LINES:]
    raise ParallaxError("\n".join(["the server did not start; its last words:", *last]))


async def _stop(process: Process) -> None:
    """Stop it in order; kill what is left of it when it takes too long."""
    if process.returncode is None:
        process.terminate()
    with anyio.move_on_after(STOP_SECONDS):
        await process.wait()
        return
    os.killpg(process.pid, SIGKILL)
    await process.wait()


def _environment(directory: Path, port: int) -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("PARALLAX_")
    }
    return inherited | {
        "PARALLAX_DATA_DIR": str(directory / "data"),
        "PARALLAX_CONFIG": str(directory / "parallax.toml"),
        "PARALLAX_PORT": str(port),
        "PARALLAX_URL": f"http://127.0.0.1:{port}",
        "PARALLAX_DRAIN_SECONDS": "1",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
