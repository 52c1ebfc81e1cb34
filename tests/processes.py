"""Real processes in tests: waiting for their end and running things as somebody else."""

import os
import pwd
import select
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
GONE_SECONDS = 60


def gone(pid: int) -> bool:
    """Wait for the end of a process, our child or not; False if it outlives our patience."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        readable, _, _ = select.select([descriptor], [], [], GONE_SECONDS)
        return bool(readable)
    finally:
        os.close(descriptor)


def python_of_nobody() -> list[str]:
    """A command that runs our code as the user `nobody`, or a skipped test where that cannot be.

    The interpreter of a virtual environment may be closed to others; the system's then does. A
    skipped one is no gap in CI: it runs the embedded server's tests as `nobody` on a copy too.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    nobody = pwd.getpwnam("nobody")
    path = f"{REPOSITORY}{os.pathsep}{sysconfig.get_path('purelib')}"
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    drop = (
        "import os, sys; os.setgroups([]);"
        f" os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid});"
        f" os.execve(sys.argv[1], sys.argv[1:], {{'PATH': os.defpath, 'PYTHONPATH': {path!r}}})"
    )
    for interpreter in (sys.executable, system):
        command = [sys.executable, "-c", drop, interpreter, "-P"]
        probe = [*command, "-c", "import orchestrator.embedded, msgspec, psycopg"]
        if subprocess.run(probe, cwd="/", capture_output=True, check=False).returncode == 0:
            return command
    pytest.skip("this checkout, or its interpreter, is closed to other users")
