"""One supervised child process: started, started again when it dies, told to stop, killed."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 30.0
HEALTHY_SECONDS = 30.0

_PR_SET_PDEATHSIG = 1
_log = structlog.get_logger()


def pause_seconds(deaths: int) -> float:
    """How long to wait before the next start after so many deaths in a row (1 or more)."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(deaths - 1, 30), LONGEST_PAUSE_SECONDS)


@dataclass(kw_only=True)
class Process:
    """A child in its own process group, so that Ctrl-C in a terminal reaches only its supervisor.

    It inherits the descriptors `keep`. Times are those of one monotonic clock, in seconds.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    keep: tuple[int, ...] = ()
    deaths: int = 0
    due_at: float = 0.0
    _started_at: float = 0.0
    _running: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it runs, as far as `reap` knows."""
        return self._running is not None

    def start_if_due(self, now: float) -> None:
        """Start it unless it runs or still has to wait after its last death."""
        if self._running is not None or now < self.due_at:
            return
        self._running = subprocess.Popen(  # noqa: S603 -- our own programs
            self.argv,
            env=self.environment,
            pass_fds=self.keep,
            process_group=0,
            stdin=subprocess.DEVNULL,
            preexec_fn=_following(os.getpid()),  # noqa: PLW1509 -- the supervisor has one thread
        )
        self._started_at = now
        _log.info("process.started", process=self.name, pid=self._running.pid)

    def reap(self, now: float) -> int | None:
        """Its exit code (negative: the signal) if it has just ended; the next start is then due."""
        code = None if self._running is None else self._running.poll()
        if code is not None:
            self._running = None
            self.deaths = 1 if now - self._started_at >= HEALTHY_SECONDS else self.deaths + 1
            self.due_at = now + pause_seconds(self.deaths)
        return code

    def stop(self) -> None:
        """Ask it to drain and end."""
        if self._running is not None:
            self._running.terminate()

    def kill(self) -> None:
        """End it and its whole process group now."""
        if self._running is not None and self._running.poll() is None:
            os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait()
        self._running = None


def _following(parent: int) -> Callable[[], None] | None:
    """What makes the kernel tell a child SIGTERM when its parent dies (Linux has it)."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def follow() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return follow
