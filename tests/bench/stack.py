"""The real thing for a benchmark: an embedded PostgreSQL, API and worker processes, a key."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from admission import keys
from admission.keys import Role
from admission.limits import Limits
from orchestrator import embedded, listening
from orchestrator.store import migrations

NOWHERE = ("PARALLAX_DATABASE_URL", "PARALLAX_LISTEN_URL", "PARALLAX_CONFIG", "PARALLAX_DATA_DIR")


@dataclass
class Stack:
    """One database and whatever was started on it; all of it ends with `running`."""

    url: str
    folder: Path
    exits: ExitStack = field(repr=False)

    def config(self, text: str) -> None:
        """What the processes started after this find as their `parallax.toml`."""
        (self.folder / "parallax.toml").write_text(textwrap.dedent(text))

    def worker(self, *, slots: int) -> subprocess.Popen[bytes]:
        """One worker process."""
        return self._process([sys.executable, "-m", "workers", "--slots", str(slots)])

    def registered(self) -> None:
        """Have the surfaces there, and no worker that serves them."""
        worker = self.worker(slots=1)
        wait_for_surfaces(self)
        worker.terminate()
        worker.wait()

    def api(self) -> str:
        """One API process; its base URL. It answers: the socket was listening before it started."""
        return self.serving()[0]

    def serving(self) -> tuple[str, subprocess.Popen[bytes]]:
        """As `api`, and the process."""
        door = self.exits.enter_context(listening.listen("127.0.0.1", 0))
        command = [sys.executable, "-m", "orchestrator", "serve"]
        inherited = {listening.DESCRIPTOR: str(door.fileno())}
        return listening.url(door), self._process(command, inherited, (door.fileno(),))

    def key(self, name: str, limits: Limits, role: Role = "client") -> str:
        """The secret of a new key."""

        async def create() -> str:
            async with await psycopg.AsyncConnection.connect(self.url) as connection:
                return (await keys.create(connection, name, limits=limits, role=role)).secret

        return asyncio.run(create())

    def until(self, statement: str, *values: object, seconds: float = 120) -> None:
        """Return when this statement finds true; it is asked each 50 ms. Raises `TimeoutError`."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for _ in range(int(seconds / 0.05)):
                if connection.execute(statement, values).fetchone() == (True,):  # type: ignore[arg-type]
                    return
                connection.execute("SELECT pg_sleep(0.05)")
        raise TimeoutError(statement)

    def one(self, statement: str, *values: object) -> tuple[Any, ...]:
        """The one row that this statement finds."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute(statement, values).fetchone()  # type: ignore[arg-type]
        assert row
        return row

    def _process(
        self, command: list[str], extra: dict[str, str] | None = None, keep: tuple[int, ...] = ()
    ) -> subprocess.Popen[bytes]:
        inherited = {k: v for k, v in os.environ.items() if k not in NOWHERE}
        config = self.folder / "parallax.toml"
        settings = {"PARALLAX_DATABASE_URL": self.url, "PARALLAX_LOG_LEVEL": "warning"}
        if config.exists():
            settings["PARALLAX_CONFIG"] = str(config)
        environment = inherited | settings | (extra or {})
        process = subprocess.Popen(command, env=environment, pass_fds=keep)
        self.exits.callback(_stop, process)
        return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def running() -> Iterator[Stack]:
    """A fresh database at PostgreSQL's default durability (fsync on)."""
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="parallax-bench-")))
        server = exits.enter_context(embedded.start(folder / "data"))
        migrations.upgrade(server.url)
        yield Stack(server.url, folder, exits)


@contextmanager
def server(module: str, *arguments: object) -> Iterator[int]:
    """The port that a module of the benchmarks prints, run as a process of its own."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def wait_for_surfaces(here: Stack, *, seconds: float = 20) -> None:
    """Return when a worker has registered its surfaces."""
    with psycopg.connect(here.url, autocommit=True) as connection:
        for _ in range(int(seconds / 0.05)):
            row = connection.execute(
                "SELECT count(*), pg_sleep(0.05)::text FROM surface"
            ).fetchone()
            if row and row[0]:
                return
    raise TimeoutError("no worker registered its surfaces")
