"""The supervisor's loop: keep every process running until told to stop, then stop them all.

Told to renew, it has each process replaced by a new one, one by one, and nobody notices.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from orchestrator.errors import BROKEN_CONFIGURATION
from orchestrator.supervisor.processes import Process
from orchestrator.supervisor.renewal import Renewal
from orchestrator.supervisor.signals import RENEW, STOP, Signals

TICK_SECONDS = 1.0
READY_TICK_SECONDS = 0.1
HOPELESS_DEATHS = 4
MARGIN_SECONDS = 5.0
_log = structlog.get_logger()


@dataclass(kw_only=True)
class Loop:
    """Runs `processes` (in the order in which they are told to stop).

    `tick` is called about once a second. `ready` is asked until it says yes, then `on_ready` is
    called, once.
    """

    signals: Signals
    processes: list[Process]
    drain_seconds: float
    ready: Callable[[], bool]
    on_ready: Callable[[], None]
    tick: Callable[[], None]
    _announced: bool = field(default=False, init=False)
    _to_renew: bool = field(default=False, init=False)
    _renewal: Renewal | None = field(default=None, init=False)

    def run(self) -> int:
        """The exit code of the whole: 0 after a signal, 1 when it could not go on."""
        while True:
            for process in self.processes:
                process.start_if_due(time.monotonic())
            received = self.signals.wait(self._pause())
            if not STOP.isdisjoint(received):
                _log.info("up.stopping", drain_seconds=self.drain_seconds)
                return 0
            if not self._all_well():
                return 1
            self._announce()
            self._to_renew |= RENEW in received
            self._renew()
            self.tick()

    def stop(self) -> None:
        """Tell all to drain; kill what is left after the drain time or on a second signal."""
        for process in self._everybody:
            process.stop()
        deadline = time.monotonic() + self.drain_seconds + MARGIN_SECONDS
        while self._still_running():
            received = self.signals.wait(deadline - time.monotonic())
            if not STOP.isdisjoint(received) or time.monotonic() >= deadline:
                break
        for process in self._still_running():
            _log.warning("process.killed", process=process.name)
            process.kill()

    def _still_running(self) -> list[Process]:
        for process in self._everybody:
            process.reap(time.monotonic())
        return [process for process in self._everybody if process.running]

    @property
    def _everybody(self) -> list[Process]:
        return [*self.processes, *(self._renewal.extra if self._renewal else ())]

    def _renew(self) -> None:
        """Go on with a renewal, or begin one that was asked for once everything is there."""
        if self._renewal is None and self._to_renew and self._announced:
            self._to_renew = False
            self._renewal = Renewal(
                self.processes, drain_seconds=self.drain_seconds + MARGIN_SECONDS
            )
            _log.info("up.renewing", processes=len(self.processes))
        if self._renewal is None:
            return
        if change := self._renewal.step(time.monotonic()):
            self.processes[self.processes.index(change.old)] = change.new
        if self._renewal.over:
            self._renewal = None

    def _announce(self) -> None:
        running = all(process.running for process in self.processes)
        if running and not self._announced and self.ready():
            self._announced = True
            self.on_ready()

    def _pause(self) -> float:
        now = time.monotonic()
        waits = [process.due_at - now for process in self.processes if not process.running]
        idle = self._announced and self._renewal is None
        return min([TICK_SECONDS if idle else READY_TICK_SECONDS, *waits])

    def _all_well(self) -> bool:
        for process in self.processes:
            if process.stalled(time.monotonic()):
                _log.error("process.stalled", process=process.name)
                process.abort()
            code = process.reap(time.monotonic())
            if code is None:
                continue
            if code == BROKEN_CONFIGURATION:
                _log.error("up.configuration_broken", process=process.name)
                return False
            if process.deaths >= HOPELESS_DEATHS and not self._announced:
                _log.error("up.hopeless", process=process.name, code=code, deaths=process.deaths)
                return False
            again_in = round(process.due_at - time.monotonic(), 2)
            _log.warning("process.died", process=process.name, code=code, again_in_seconds=again_in)
        return True
