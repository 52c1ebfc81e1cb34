"""The server's parent, run as a script of its own (standard library only): see the package's prose.

Usage: guardian.py USERS_LOCK SERVER_LOCK_DESCRIPTOR CLUSTER UID GID POSTGRES ARGUMENT...
"""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT
FAST_SECONDS = 30
AGAIN_SECONDS = 0.5
PR_SET_PDEATHSIG = 1


class Guardian:
    """Keeps one server alive while it is wanted, and stops it when nobody uses it any more."""

    def __init__(self, users: str, lock: int, cluster: Path, account: tuple[int, int]) -> None:
        self.users = users
        self.lock = lock
        self.cluster = cluster
        self.account = account
        self.unwanted = threading.Event()
        self.server: subprocess.Popen[bytes] | None = None

    def keep(self, command: list[str]) -> None:
        """Run the server until it is stopped; one that was killed is started again."""
        self._spawn(command)
        threading.Thread(target=self._stop_when_unused, daemon=True).start()
        while self.server is not None:
            self.server.wait()
            if self.unwanted.is_set() or not self._was_killed():
                return
            self.unwanted.wait(AGAIN_SECONDS)
            self._spawn(command)

    def _was_killed(self) -> bool:
        return (self.cluster / "postmaster.pid").exists()  # a server that stops removes it

    def _spawn(self, command: list[str]) -> None:
        uid, gid = self.account
        other = uid != os.geteuid()
        libc = ctypes.CDLL(None)

        def follow() -> None:
            libc.prctl(PR_SET_PDEATHSIG, FAST)

        self.server = subprocess.Popen(  # noqa: S603 -- composed by `server.py`, no shell
            command,
            cwd=self.cluster,
            pass_fds=(self.lock,),
            preexec_fn=follow if sys.platform == "linux" else None,  # noqa: PLW1509 -- one thread
            user=uid if other else None,
            group=gid if other else None,
            extra_groups=[] if other else None,
        )
        if self.unwanted.is_set():
            self.server.send_signal(FAST)

    def _stop_when_unused(self) -> None:
        users = os.open(self.users, os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(users, fcntl.LOCK_EX)
        self.unwanted.set()
        if self.server is not None:
            self.server.send_signal(FAST)
            threading.Event().wait(FAST_SECONDS)
            self.server.send_signal(IMMEDIATE)


def main(arguments: list[str]) -> None:
    """Detach from whoever called, then keep the server."""
    users, lock, cluster, uid, gid, *command = arguments
    if os.fork() != 0:
        os._exit(0)  # the caller has nobody to wait for, and we are nobody's child
    os.setsid()
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, lambda *_: None)  # not SIG_IGN, which the server would inherit
    Guardian(users, int(lock), Path(cluster), (int(uid), int(gid))).keep(command)


if __name__ == "__main__":
    main(sys.argv[1:])
