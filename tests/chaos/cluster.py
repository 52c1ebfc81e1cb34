"""A PostgreSQL of a cell's own, which can be stopped, killed, kept away, and followed by another.

The server programs are those of the embedded one. It listens on a Unix socket alone; fsync is on,
and 100 connections are all there are, for a role that is no superuser.
"""

import asyncio
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import AsyncConnection

from orchestrator.embedded import accounts, binaries, launch
from orchestrator.embedded.accounts import Account
from orchestrator.embedded.server import SYSTEM_USER
from orchestrator.store import migrations
from tests.chaos import journal
from tests.waiting import eventually

DATABASE = ROLE = "parallax"
CONNECTIONS = 100
SETTINGS = {
    **launch.SETTINGS,
    "max_connections": str(CONNECTIONS),
    "shared_buffers": "64MB",
    "dynamic_shared_memory_type": "mmap",  # who is killed leaves it among its files
}
START_SECONDS = 30
_PR_SET_PDEATHSIG = 1


class Cluster:
    """One data directory and the server that may run on it; `settings` beat its files."""

    def __init__(self, place: Path, account: Account, **settings: str) -> None:
        self.data = place / "data"
        self._place = place
        self._account = account
        self._programs = binaries.directory(self.data)
        self._settings = {
            **SETTINGS,
            "unix_socket_directories": launch.listed(place),
            **settings,
        }
        self._server: subprocess.Popen[bytes] | None = None

    def url(self, *, user: str = ROLE, database: str = DATABASE) -> str:
        """Its libpq URL for the role of our processes, or for another."""
        return f"postgresql://{user}@/{database}?host={quote(str(self._place))}&port=5432"

    @property
    def socket(self) -> str:
        """The directory of its socket, as a host in a URL."""
        return str(self._place)

    def make(self) -> None:
        """A new data directory."""
        accounts.let_through(self._account, self.data)
        binaries.open_to(self._account, self._programs)
        launch.make_cluster(self.data, self._programs, self._account)

    def follow(self, primary: "Cluster") -> None:
        """A copy of another server's data, which goes on copying once it is started."""
        copying = ["pg_basebackup", "-h", primary.socket, "-U", "postgres", "-D", str(self.data)]
        self._run(*copying, "-R", "-X", "stream", "-c", "fast")

    async def start(self) -> None:
        """Running; after a kill that takes until the old server's processes are gone."""

        async def runs() -> bool:
            if self._server is None or self._server.poll() is not None:
                flags = launch.flags(self._settings)
                postgres = str(self._programs / "postgres")
                self._server = self.spawn(postgres, "-D", str(self.data), *flags)
            return await answers(self.url(user="postgres", database="postgres"))

        await eventually(runs, seconds=START_SECONDS)

    async def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """A fast shutdown (SIGINT), or as if it had crashed (SIGQUIT, SIGKILL)."""
        assert self._server is not None
        self._server.send_signal(how)
        await asyncio.to_thread(self._server.wait, START_SECONDS)
        self._server = None

    def promote(self) -> None:
        """From a standby to a primary; returns once it takes writes."""
        self._run("pg_ctl", "promote", "-D", str(self.data), "-w", "-s")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Started, and stopped at the end if it still runs."""
        await self.start()
        try:
            yield
        finally:
            if self._server is not None:
                await self.stop(signal.SIGQUIT)

    def spawn(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A process of the server's user, which writes into the server's log."""
        with (self._place / "log").open("ab") as log:
            return subprocess.Popen(
                [program, *arguments],
                cwd="/",
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # Ctrl-C is not for it
                preexec_fn=_following(),  # noqa: PLW1509 - it must not outlive us
                **self._somebody_else(),
            )

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        environment = _environment()
        subprocess.run(
            command,
            check=True,
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            **self._somebody_else(),
        )

    def _somebody_else(self) -> dict[str, object]:
        if self._account.uid == os.geteuid():
            return {}
        return {"user": self._account.uid, "group": self._account.gid, "extra_groups": []}


def either(servers: Sequence[Cluster]) -> str:
    """The URL of whichever of these takes writes."""
    hosts = quote(",".join(server.socket for server in servers))
    ports = ",".join(["5432"] * len(servers))
    wanted = f"host={hosts}&port={ports}&target_session_attrs=read-write"
    return f"postgresql://{ROLE}@/{DATABASE}?{wanted}"


async def answers(url: str) -> bool:
    """Whether a server can be asked here."""
    try:
        async with await AsyncConnection.connect(url, connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


async def furnish(cluster: Cluster) -> None:
    """Our role, its database with this version's tables, and the journal."""
    root = cluster.url(user="postgres", database="postgres")
    async with await AsyncConnection.connect(root, autocommit=True) as connection:
        await connection.execute("CREATE ROLE parallax LOGIN")
        await connection.execute("CREATE DATABASE parallax OWNER parallax")
    migrations.upgrade(cluster.url())
    async with await AsyncConnection.connect(cluster.url(), autocommit=True) as connection:
        await journal.install(connection)


@asynccontextmanager
async def clusters(*names: str, **settings: str) -> AsyncIterator[list[Cluster]]:
    """Servers that do not run yet, each in a directory of its own; the settings are the first's."""
    place = tempfile.mkdtemp(prefix="pg-")
    try:
        account = accounts.choose(Path(place, "data"), SYSTEM_USER)
        os.chmod(place, 0o711)  # noqa: PTH101 - others may pass through
        made = []
        for name in names:
            directory = Path(place, name)
            launch.make_sockets(directory, account)
            made.append(Cluster(directory, account, **({} if made else settings)))
        yield made
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _following() -> Callable[[], None]:
    """What has a process end with the thread that started it, whoever kills that."""
    libc = ctypes.CDLL(None)

    def follow() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)

    return follow


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
