"""Advisory file locks (`flock`): the kernel frees them when their holder dies, however it dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import DatabaseUnavailableError

PAUSE_SECONDS = 0.02


def opened(path: Path) -> int:
    """A descriptor of the lock file, made if need be; not inherited by child processes."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def attempt(descriptor: int, operation: int) -> bool:
    """Whether the lock (`fcntl.LOCK_SH` or `LOCK_EX`) was free for us, without waiting."""
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take(descriptor: int, operation: int, *, seconds: float) -> None:
    """Wait for the lock, at most `seconds`; then `DatabaseUnavailableError`."""
    deadline = time.monotonic() + seconds
    while not attempt(descriptor, operation):
        if time.monotonic() > deadline:
            raise DatabaseUnavailableError(
                f"another process has been starting or stopping the embedded PostgreSQL"
                f" for {seconds:.0f} seconds; is one stuck?"
            )
        time.sleep(PAUSE_SECONDS)  # a file lock has no waiting with an end


@contextmanager
def exclusive(path: Path, *, seconds: float) -> Iterator[None]:
    """Hold the exclusive lock on `path` for the block, waiting for it at most `seconds`."""
    descriptor = opened(path)
    try:
        take(descriptor, fcntl.LOCK_EX, seconds=seconds)
        yield
    finally:
        os.close(descriptor)
