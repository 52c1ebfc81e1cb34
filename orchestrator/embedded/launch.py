"""What has to be in place before a server runs, and the guardian that runs it."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.embedded.accounts import INSTEAD, Account
from orchestrator.errors import DatabaseUnavailableError, ParallaxError

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "jit": "off",  # compiling costs more than any statement here
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",  # nobody rotates this log while it runs
}
LARGEST_LOG_BYTES = 10_000_000
_SILENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}  # no secrets, no PG… of ours


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """What the guardian is told: the locks, the cluster, who runs it, and the server's command."""

    users: Path
    server: int
    cluster: Path
    account: Account
    log: Path
    command: list[str]


def make_cluster(cluster: Path, programs: Path, account: Account) -> None:
    """Run `initdb` unless the cluster exists; a half-made one is thrown away, never used."""
    if (cluster / "PG_VERSION").exists():
        return
    fresh = cluster.with_name("postgres.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    os.chown(fresh, account.uid, account.gid)
    who = ["--username=postgres", "--auth=trust"]  # the socket's directory is the door, and 0700
    order = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
    order.append("--builtin-locale=C.UTF-8")  # by code point, whatever locales the system has
    _run([str(programs / "initdb"), "-D", str(fresh), "--no-instructions", *who, *order], account)
    try:
        fresh.rename(cluster)  # over an empty directory at most
    except OSError as error:
        raise ParallaxError(f"{cluster} holds something else than a PostgreSQL cluster.") from error


def make_sockets(directory: Path, account: Account) -> None:
    """The socket's directory: the server's alone, since whoever reaches the socket is superuser."""
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
        os.chown(directory, account.uid, account.gid)
    found = directory.lstat()
    if found.st_uid != account.uid or found.st_mode != stat.S_IFDIR | stat.S_IRWXU:
        raise ParallaxError(
            f"{directory} is not a directory of PostgreSQL's user alone: remove it."
        )


def forget_dead(cluster: Path, sockets: Path) -> None:
    """Clear away what a killed server left, if its process id belongs to somebody else by now.

    A container counts its processes anew: PostgreSQL would take ours for a running server.
    """
    pid = _pid(cluster)
    if pid is None:
        return
    with suppress(FileNotFoundError, ProcessLookupError):
        if os.fsencode(cluster) in Path(f"/proc/{pid}/cmdline").read_bytes():
            return  # a server that somebody else started: it refuses the start itself
        for path in (cluster / "postmaster.pid", sockets / ".s.PGSQL.5432.lock"):
            path.unlink(missing_ok=True)


def tell(cluster: Path, order: int) -> None:
    """Send the server a signal; nothing if it has just ended."""
    pid = _pid(cluster)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, order)


def _pid(cluster: Path) -> int | None:
    try:
        return int((cluster / "postmaster.pid").read_text().partition("\n")[0])
    except (FileNotFoundError, ValueError):
        return None


def flags(settings: Mapping[str, str]) -> list[str]:
    """The settings as arguments of `postgres`, which beat what the cluster's files say."""
    return [f"--{name}={value}" for name, value in settings.items()]


def listed(path: Path) -> str:
    """A path as the one element of a list setting."""
    return '"{}"'.format(str(path).replace('"', '""'))


def guard(guarded: Guarded) -> None:
    """Start the guardian, which starts the server and outlives us as long as others use it."""
    if guarded.log.exists() and guarded.log.stat().st_size > LARGEST_LOG_BYTES:
        guarded.log.rename(guarded.log.with_suffix(".log.1"))
    script = [sys.executable, "-I", "-S", str(Path(__file__).with_name("guardian.py"))]
    told = [guarded.users, guarded.server, guarded.cluster]
    account = [guarded.account.uid, guarded.account.gid]
    with guarded.log.open("ab") as log:
        log.write(b"--- start\n")
        log.flush()
        subprocess.run(  # noqa: S603 -- our own script
            [*script, *map(str, (*told, *account)), *guarded.command],
            check=True,
            cwd="/",
            env=_SILENT,
            pass_fds=(guarded.server,),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def fault(log: Path) -> str:
    """Why the last start failed, in one line, by the server's own log."""
    lines = log.read_text(errors="replace").rpartition("--- start\n")[2].splitlines()
    telling = [line for line in lines if "FATAL" in line or "Error" in line] or lines or ["no word"]
    return f"The embedded PostgreSQL does not start: {telling[-1]} (log: {log})."


def _run(command: list[str], account: Account) -> None:
    other = account.uid != os.geteuid()
    try:
        subprocess.run(  # noqa: S603 -- a program of the wheel
            command,
            check=True,
            capture_output=True,
            text=True,
            cwd="/",
            env=_SILENT,
            user=account.uid if other else None,
            group=account.gid if other else None,
            extra_groups=[] if other else None,
        )
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.split()) or f"initdb ended with {error.returncode}"
        raise DatabaseUnavailableError(
            f"The embedded PostgreSQL cannot be set up: {said}. {INSTEAD}"
        ) from error
