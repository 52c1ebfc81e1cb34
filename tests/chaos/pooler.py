"""PgBouncer in transaction mode before a server, which can be killed and started again."""

import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.chaos import cluster as clusters
from tests.chaos.cluster import DATABASE, ROLE, Cluster
from tests.waiting import eventually

PORT = 6432
CONFIGURATION = """
[databases]
{database} = host={server} port=5432 dbname={database}
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {place}
auth_type = trust
auth_file = {place}/users
pool_mode = transaction
default_pool_size = 20
max_client_conn = 200
"""


def program() -> str:
    """Where it is installed; else the test is skipped."""
    found = shutil.which("pgbouncer", path=f"{os.defpath}:/usr/sbin")
    if found is None:
        pytest.skip("PgBouncer is not installed here (on Debian: apt install pgbouncer)")
    return found


class Pooler:
    """One PgBouncer, in a directory of the server's, as the server's user."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._place = Path(cluster.socket)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of our database, through it."""
        return f"postgresql://{ROLE}@/{DATABASE}?host={quote(str(self._place))}&port={PORT}"

    async def start(self) -> None:
        """Running."""
        configuration = CONFIGURATION.format(
            database=DATABASE, server=self._place, place=self._place, port=PORT
        )
        (self._place / "users").write_text(f'"{ROLE}" ""\n')
        (self._place / "pgbouncer.ini").write_text(configuration)
        for name in ("users", "pgbouncer.ini"):
            (self._place / name).chmod(0o644)
        self._process = self.cluster.spawn(program(), str(self._place / "pgbouncer.ini"))

        async def serves() -> bool:
            return await clusters.answers(self.url)

        await eventually(serves)

    def stop(self) -> None:
        """Every connection through it ends."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@asynccontextmanager
async def pooling(cluster: Cluster) -> AsyncIterator[Pooler]:
    """A pooler, until the end."""
    made = Pooler(cluster)
    await made.start()
    try:
        yield made
    finally:
        made.stop()
