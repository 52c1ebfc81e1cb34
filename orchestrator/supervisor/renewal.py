"""Renewing processes one by one: the new one first; once it is there the old one drains."""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

import structlog

from orchestrator.supervisor.processes import Process

START_SECONDS = 60.0
"""How long a new process may take until it says that it is there."""
_log = structlog.get_logger()


class _Step(Enum):
    STARTING = "starting"
    DRAINING = "draining"


class Change(NamedTuple):
    """From now on the new process stands for the old one, which drains."""

    old: Process
    new: Process


class Renewal:
    """Renews these, in order; `step` is to be called again and again until it is `over`.

    At any moment there is one process more than usual. One that does not come up ends the renewal:
    what runs goes on.
    """

    def __init__(self, processes: Sequence[Process], *, drain_seconds: float) -> None:
        self._left = list(processes)
        self._drain_seconds = drain_seconds
        self._step = _Step.STARTING
        self._extra: Process | None = None
        self._until = 0.0
        self.over = False

    @property
    def extra(self) -> Sequence[Process]:
        """The process that runs beside those that are usual."""
        return () if self._extra is None else (self._extra,)

    def step(self, now: float) -> Change | None:
        """Go on as far as it goes without waiting; what has changed, if anything."""
        if self._extra is None:
            self._begin(now)
            return None
        code = self._extra.reap(now)
        if self._step is _Step.DRAINING:
            self._drained(now)
            return None
        return self._started(self._extra, code, now)

    def _begin(self, now: float) -> None:
        if not self._left:
            self.over = True
            _log.info("up.renewed")
            return
        self._extra, self._step = self._left[0].another(), _Step.STARTING
        self._until = now + START_SECONDS
        self._extra.start_if_due(now)

    def _started(self, new: Process, code: int | None, now: float) -> Change | None:
        if new.ready(now):
            old = self._left.pop(0)
            self._extra, self._step = old, _Step.DRAINING
            self._until = now + self._drain_seconds
            old.stop()
            return Change(old, new)
        if code is not None or now >= self._until:
            _log.error("process.not_renewed", process=new.name, code=code)
            new.kill()
            self._extra, self.over = None, True
        return None

    def _drained(self, now: float) -> None:
        old = self._extra
        if old is None or (old.running and now < self._until):
            return
        if old.running:
            _log.warning("process.killed", process=old.name)
            old.kill()
        self._extra = None
