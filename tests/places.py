"""Where a run of the tests keeps its files: in memory, if there is room: ten times as fast.

A run holds a lock on its directory; what one that was killed has left is removed by the next.
"""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from orchestrator.embedded import locks

MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 << 30
PREFIX = "parallax-test-"


def made() -> str:
    """A directory of this process's own; other users may pass through it to what is theirs."""
    memory = _memory()
    if memory is not None:
        _swept(memory)
    while True:
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=memory))
        with suppress(FileNotFoundError):  # another run has just taken it for one that is dead
            if _held(directory):
                directory.chmod(0o711)
                return str(directory)


def _memory() -> Path | None:
    """Where files are in memory, if there is room for ours."""
    with suppress(OSError):
        if shutil.disk_usage(MEMORY).free >= ROOM_BYTES and os.access(MEMORY, os.W_OK):
            return MEMORY
    return None


def _swept(memory: Path) -> None:
    for directory in memory.glob(f"{PREFIX}*"):
        with suppress(OSError):  # it goes at this moment, or is another user's
            if _held(directory):
                shutil.rmtree(directory, ignore_errors=True)


def _held(directory: Path) -> bool:
    """Whether the lock was free; it is ours until this process ends."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    return locks.attempt(descriptor, fcntl.LOCK_EX)
