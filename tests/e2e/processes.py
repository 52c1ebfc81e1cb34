"""A whole server in real processes: what it logs, what its database holds, who of it is killed."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGKILL
from typing import Any, LiteralString

from psycopg import AsyncConnection

from admission import keys
from admission.limits import Limits
from orchestrator import listening
from orchestrator.client import Client
from orchestrator.embedded import DATABASE
from orchestrator.embedded.place import Place
from orchestrator.store import counters
from tests.e2e import lines
from tests.processes import REPOSITORY

PARALLAX = (sys.executable, "-m", "orchestrator")
PATIENCE_SECONDS = 60
CONFIGURATION = """
[surfaces.site]
adapter = "http"
timeout = "2m"
[surfaces.site.options]
url = "{upstream}/?q={{query}}&country={{country}}"
text = "answer"

[surfaces.quick]
adapter = "simulator"
[surfaces.quick.options]
latency_ms = [1, 20]
"""


class Server:
    """`parallax up`, what its processes log, and its database: this one, else an embedded one."""

    def __init__(self, directory: Path, *, database: str | None = None) -> None:
        self.place = Place(data_dir=directory / "data")
        self.database = database or self.place.url(DATABASE)
        self.url = self.secret = ""
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PARALLAX_")
        } | {
            "PARALLAX_DATA_DIR": str(self.place.data_dir),
            "PARALLAX_CONFIG": str(directory / "parallax.toml"),
            "PARALLAX_DRAIN_SECONDS": "1",
            "PARALLAX_LOG": "json",
        }
        if database:
            self.environment["PARALLAX_DATABASE_URL"] = database
        self._logged: list[dict[str, Any]] = []
        self._news = asyncio.Condition()

    async def command(self, *arguments: str) -> str:
        """Run `parallax` with these arguments; its stdout."""
        process = await self._start(*arguments)
        said, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        return said.decode()

    @asynccontextmanager
    async def up(self, *arguments: str) -> AsyncIterator[None]:
        """Running and ready; stopped in order at the end."""
        process = await self._start("up", "--port", "0", *arguments)
        listening = asyncio.create_task(self._listen(process))
        try:
            self.url = (await self.event("up.ready"))["url"]
            yield
        finally:
            process.terminate()
            await listening
            assert await process.wait() == 0

    @asynccontextmanager
    async def another(self) -> AsyncIterator[tuple[str, Process]]:
        """An API process beside those, with a socket of its own: its URL and the process."""
        with listening.listen("127.0.0.1", 0) as door:
            environment = {listening.DESCRIPTOR: str(door.fileno())}
            async with self.beside("serve", door=door.fileno(), **environment) as process:
                yield listening.url(door), process

    @asynccontextmanager
    async def beside(
        self, *arguments: str, door: int | None = None, impatient: bool = False, **environment: str
    ) -> AsyncIterator[Process]:
        """A process beside the database that runs, perhaps killed; else stopped in order.

        An `impatient` one was told so twice.
        """
        here = {"PARALLAX_DATABASE_URL": self.database}
        process = await self._start(*arguments, door=door, **here, **environment)
        following = asyncio.create_task(self._listen(process))
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await following
            assert await process.wait() in {int(impatient), -SIGKILL}

    async def event(self, event: str, *, after: int = 0, **fields: Any) -> dict[str, Any]:
        """The next line of this event with these fields, of any process, `after` so many lines."""

        def found() -> dict[str, Any] | None:
            wanted = {"event": event, **fields}.items()
            return next((line for line in self._logged[after:] if wanted <= line.items()), None)

        async with asyncio.timeout(PATIENCE_SECONDS), self._news:
            return await self._news.wait_for(found)

    def faults(self) -> list[dict[str, Any]]:
        """What any process logged as an error: there should be none, whoever was killed."""
        return list(filter(lines.fault, self._logged))

    async def kill(self, name: str) -> None:
        """Kill a process of the supervisor's and wait until it has started another."""
        after = len(self._logged)
        os.kill(self.pid(name), SIGKILL)
        await self.event("process.started", after=after, process=name)

    def pid(self, name: str) -> int:
        """Of the process the supervisor has started last under this name."""
        started = reversed(self.logged("process.started"))
        return next(line["pid"] for line in started if line["process"] == name)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines of this event so far, of all processes."""
        return [line for line in self._logged if line["event"] == event]

    def name_of(self, pid: int) -> str:
        return next(line["process"] for line in self._logged if line.get("pid") == pid)

    def kill_postgres(self) -> None:
        """Kill the server process; its backends notice and end."""
        pid = (self.place.cluster / "postmaster.pid").read_text().partition("\n")[0]
        os.kill(int(pid), SIGKILL)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[AsyncConnection]:
        async with await AsyncConnection.connect(self.database, autocommit=True) as connection:
            yield connection

    async def rows(self, statement: LiteralString, **values: Any) -> list[tuple[Any, ...]]:
        """What a statement says on a connection of its own."""
        async with self.connected() as connection:
            return await (await connection.execute(statement, values)).fetchall()

    async def key(self, name: str, *, role: keys.Role = "client", **limits: Any) -> str:
        """The secret of a new key that may ask as often as it likes."""
        async with self.connected() as connection:
            made = Limits(**{"requests_per_minute": 100_000} | limits)
            return (await keys.create(connection, name, limits=made, role=role)).secret

    async def differences(self) -> list[counters.Difference]:
        async with self.connected() as connection:
            return await counters.differences(connection)

    def client(self, secret: str) -> Client:
        return Client(url=self.url, key=secret)

    async def _start(self, *arguments: str, door: int | None = None, **more: str) -> Process:
        """A command, which inherits the `door`."""
        return await create_subprocess_exec(
            *PARALLAX,
            *arguments,
            cwd=REPOSITORY,
            env=self.environment | more,
            pass_fds=() if door is None else (door,),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
        )

    async def _listen(self, process: Process) -> None:
        async for line in process.stderr:
            told = lines.read(line.decode()) | {"of": process.pid}
            if lines.fault(told):
                print(told.get("stack", told))  # noqa: T201 - shown when the test fails
            async with self._news:
                self._logged.append(told)
                self._news.notify_all()


def furnished(directory: Path, upstream_url: str) -> Server:
    """A server of both surfaces, `site` being the upstream; nothing runs yet."""
    return configured(directory, CONFIGURATION.format(upstream=upstream_url))


def configured(directory: Path, configuration: str) -> Server:
    """A server of these surfaces; nothing runs yet."""
    (directory / "parallax.toml").write_text(configuration)
    return Server(directory)
