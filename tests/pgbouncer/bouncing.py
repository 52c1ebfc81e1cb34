"""PgBouncer in transaction mode before a server, by way of Unix sockets alone."""

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
POOL = 8
"""Server connections for all clients: fewer than they have, so that they take turns."""
LOOKS, LOOK_SECONDS = 400, 0.05
GONE_SECONDS = 20
# Not a word of `ignore_startup_parameters`: it refuses what it does not know.
CONFIGURATION = """
[databases]
* = host={server} port={port} user={user}
[pgbouncer]
unix_socket_dir = {sockets}
listen_port = 6432
auth_type = any
pool_mode = transaction
default_pool_size = {pool}
max_client_conn = 500
server_login_retry = 1
"""


class Bouncer:
    """One PgBouncer; it runs between `start` and `stop` or `kill`.

    As root it is run by the user whose the server's socket is: it refuses to be root. Where it is
    not installed the test is skipped.
    """

    def __init__(self, directory: Path, server: str) -> None:
        if PROGRAM is None:
            pytest.skip("PgBouncer is not installed here (on Debian: apt install pgbouncer)")
        parts = conninfo_to_dict(server)
        sockets = Path(str(parts["host"]))
        owner = sockets.stat().st_uid
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [PROGRAM, str(directory / "pgbouncer.ini")]
        if os.geteuid() == 0:
            drop = [f"--reuid={owner}", f"--regid={owner}", "--clear-groups"]
            self._command = ["setpriv", *drop, *self._command]
            os.chown(directory, owner, -1)
        text = CONFIGURATION.format(
            server=sockets,
            port=parts["port"],
            user=parts["user"],
            sockets=directory,
            pool=POOL,
        )
        (directory / "pgbouncer.ini").write_text(text)

    def url(self, database: str) -> str:
        """The libpq URL, through it, of a database given by its own URL."""
        name = conninfo_to_dict(database)["dbname"]
        return f"postgresql://anybody@/{name}?host={quote(str(self._directory))}&port=6432"

    def start(self) -> None:
        """Return once it listens."""
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        for _ in range(LOOKS):
            with suppress(psycopg.OperationalError):
                psycopg.connect(self.url("dbname=pgbouncer"), connect_timeout=1).close()
                return
            with suppress(subprocess.TimeoutExpired):
                code = self._process.wait(LOOK_SECONDS)
                raise RuntimeError(f"PgBouncer ended with {code}")
        raise TimeoutError("PgBouncer does not listen")

    def stop(self) -> None:
        """At once, whatever its clients are doing."""
        self._end(kill=False)

    def kill(self) -> None:
        """With -9."""
        self._end(kill=True)

    def _end(self, *, kill: bool) -> None:
        process = self._process
        if process is not None:
            process.kill() if kill else process.terminate()
            process.wait(GONE_SECONDS)
            self._process = None
