"""Who the server runs as, and that account's way to the data: PostgreSQL refuses to be root."""

import os
import pwd
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import ParallaxError

INSTEAD = "Run as an ordinary user, or set PARALLAX_DATABASE_URL to a PostgreSQL of your own."
TRIES = 6
PAUSE_SECONDS = 0.2

# The kernel's access control list: `linux/posix_acl_xattr.h`.
_ACL = "system.posix_acl_access"
_ACL_VERSION = struct.pack("<I", 2)
_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NOBODY_IN_PARTICULAR = 0xFFFFFFFF
_SEARCH = 0o1


@dataclass(frozen=True, kw_only=True)
class Account:
    """A user and a group of the system, by number."""

    uid: int
    gid: int


def choose(cluster: Path, system_user: str) -> Account:
    """The account of the server of `cluster`: its owner's, else ours, else (as root) a system user.

    `ParallaxError` when the cluster is somebody else's or the system user cannot be made.
    """
    ourselves = Account(uid=os.geteuid(), gid=os.getegid())
    if cluster.exists():
        found = cluster.stat()
        if found.st_uid != 0 and ourselves.uid in (0, found.st_uid):
            return Account(uid=found.st_uid, gid=found.st_gid)
        if ourselves.uid != 0:
            raise ParallaxError(f"{cluster} belongs to another user. Set PARALLAX_DATA_DIR.")
    return ourselves if ourselves.uid != 0 else _system_user(system_user)


def _system_user(name: str) -> Account:
    fault = ""
    for _ in range(TRIES):  # useradd refuses while another one runs, which may be making it too
        found = _lookup(name)
        if found is not None:
            return found
        fault = _create(name)
        if fault:
            time.sleep(PAUSE_SECONDS)  # the other one does not tell when it is done
    raise ParallaxError(
        f"PostgreSQL does not run as root, and its system user {name} cannot be made: {fault}."
        f" {INSTEAD}"
    )


def _lookup(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def _create(name: str) -> str:
    """Why it could not be made; empty when it was."""
    useradd = shutil.which("useradd", path=os.environ.get("PATH", os.defpath))
    if useradd is None:
        return "there is no useradd here"
    nobody_logs_in = ["--no-create-home", "--home-dir", "/nonexistent", "--shell", "/bin/false"]
    ended = subprocess.run(  # noqa: S603 -- a fixed command, found on the administrator's PATH
        [useradd, "--system", *nobody_logs_in, name],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode == 0:
        return ""
    return ended.stderr.strip().rstrip(".") or f"useradd ended with {ended.returncode}"


def let_through(account: Account, path: Path) -> None:
    """Give the account search permission on each directory above `path` that is closed to it."""
    if account.uid == os.geteuid():
        return
    for directory in reversed(path.resolve().parents):
        found = directory.stat()
        ours = found.st_uid == account.uid and found.st_mode & 0o100
        if ours or found.st_mode & _SEARCH:
            continue
        try:
            _allow_search(directory, account.uid)
        except OSError as error:
            raise ParallaxError(
                f"PostgreSQL's user cannot be let through {directory} ({error.strerror})."
                " Set PARALLAX_DATA_DIR to a directory others may enter, as /var/lib/parallax;"
                f" or: {INSTEAD}"
            ) from error


def _allow_search(directory: Path, uid: int) -> None:
    entries = dict(_entries(directory))
    mask = (_MASK, _NOBODY_IN_PARTICULAR)
    group = entries[_GROUP_OBJ, _NOBODY_IN_PARTICULAR]
    entries[_USER, uid] = entries.get((_USER, uid), 0) | _SEARCH
    entries[mask] = entries.get(mask, group) | _SEARCH
    packed = (_ENTRY.pack(tag, allowed, who) for (tag, who), allowed in sorted(entries.items()))
    os.setxattr(directory, _ACL, _ACL_VERSION + b"".join(packed))


def _entries(directory: Path) -> Iterator[tuple[tuple[int, int], int]]:
    if _ACL in os.listxattr(directory):
        for tag, allowed, who in _ENTRY.iter_unpack(os.getxattr(directory, _ACL)[4:]):
            yield (tag, who), allowed
        return
    mode = directory.stat().st_mode
    for tag, shift in ((_USER_OBJ, 6), (_GROUP_OBJ, 3), (_OTHER, 0)):
        yield (tag, _NOBODY_IN_PARTICULAR), mode >> shift & 0o7
