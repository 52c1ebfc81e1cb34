"""One supervised child process: started, started again when it dies, told to stop, killed."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from orchestrator import lifeline

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 30.0
SOON_SECONDS = 2.0
"""The longest pause for one that had been there: what killed it was hardly its start."""
HEALTHY_SECONDS = 30.0
STALLED_SECONDS = 30.0
"""One that has been silent for so long is killed: whatever it holds is needed elsewhere."""

_PR_SET_PDEATHSIG = 1
_log = structlog.get_logger()


def pause_seconds(deaths: int, *, longest: float = LONGEST_PAUSE_SECONDS) -> float:
    """How long to wait before the next start after so many deaths in a row (1 or more)."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(deaths - 1, 30), longest)


@dataclass(kw_only=True, eq=False)
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
    _told_to_stop: bool = False
    _line: int | None = None
    _heard_at: float | None = None

    @property
    def running(self) -> bool:
        """Whether it runs, as far as `reap` knows."""
        return self._running is not None

    def start_if_due(self, now: float) -> None:
        """Start it unless it runs or still has to wait after its last death."""
        if self._running is not None or now < self.due_at:
            return
        self._forget()
        self._line, theirs = lifeline.line()
        self._running = subprocess.Popen(  # noqa: S603 -- our own programs
            self.argv,
            env={**self.environment, lifeline.DESCRIPTOR: str(theirs)},
            pass_fds=(*self.keep, theirs),
            process_group=0,
            stdin=subprocess.DEVNULL,
            preexec_fn=_following(os.getpid()),  # noqa: PLW1509 -- the supervisor has one thread
        )
        os.close(theirs)
        self._started_at = now
        _log.info("process.started", process=self.name, pid=self._running.pid)

    def ready(self, now: float) -> bool:
        """Whether it has said that it is there since it was started last."""
        self._listen(now)
        return self._heard_at is not None

    def stalled(self, now: float) -> bool:
        """Whether it was there and has not said for long that it lives."""
        return self.ready(now) and now - (self._heard_at or now) > STALLED_SECONDS

    def _listen(self, now: float) -> None:
        if self._line is not None and lifeline.heard(self._line):
            self._heard_at = now

    def another(self) -> "Process":
        """One like it, not started."""
        return Process(name=self.name, argv=self.argv, environment=self.environment, keep=self.keep)

    def reap(self, now: float) -> int | None:
        """Its exit code (negative: the signal) if it has just ended; the next start is then due."""
        code = None if self._running is None else self._running.poll()
        if code is not None:
            longest = SOON_SECONDS if self.ready(now) else LONGEST_PAUSE_SECONDS
            self._forget()
            self.deaths = 1 if now - self._started_at >= HEALTHY_SECONDS else self.deaths + 1
            self.due_at = now + pause_seconds(self.deaths, longest=longest)
        return code

    def stop(self) -> None:
        """Ask it to drain and end, once: told twice it would not wait."""
        if self._running is not None and not self._told_to_stop:
            self._told_to_stop = True
            self._running.terminate()

    def kill(self) -> None:
        """End it and its whole process group now."""
        self.abort()
        if self._running is not None:
            self._running.wait()
        self._forget()

    def abort(self) -> None:
        """End it and its whole process group; it is reaped as any that dies."""
        if self._running is not None and self._running.poll() is None:
            os.killpg(self._running.pid, signal.SIGKILL)

    def _forget(self) -> None:
        if self._line is not None:
            os.close(self._line)
        self._running = self._line = self._heard_at = None
        self._told_to_stop = False


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
