"""The watchdog: a thread that sees whether the event loop still turns, and how much memory is left.

It counts its own looks, so a process that was stopped for a while and goes on has lost nothing.
Where code keeps even threads from running, the supervisor sees it (`orchestrator.lifeline`).
"""

import asyncio
import os
import sys
import threading
import traceback
from collections.abc import Callable

import structlog

from orchestrator import lifeline
from workers import captures, memory

LOOK_SECONDS = 1.0
BLOCKED_LOOKS = 5
"""After so many looks at a loop that does not turn it is said which child holds it up."""
STALLED_LOOKS = 30
"""After so many the process ends: others take its children."""
STALLED, TOO_LARGE = 70, 71
"""Exit codes."""

_log = structlog.get_logger()


class Watchdog:
    """Watches the process it is in, while `pulse` runs in its loop; `end` ends it.

    `release` is to let go of what others may wait for, when the loop is blocked; `blame` is given
    the name of the task that held the loop up, before the end.
    """

    def __init__(
        self,
        *,
        memory_bytes: int,
        release: Callable[[], None],
        blame: Callable[[str], None],
        end: Callable[[int], None] = os._exit,
        resident: Callable[[], int] = memory.resident_bytes,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._release = release
        self._blame = blame
        self._end = end
        self._resident = resident
        self._pulse = self._seen = 0
        self._still = 0
        self._stopping = threading.Event()

    async def pulse(self) -> None:
        """Be watched, until cancelled."""
        self._loop, self._of = asyncio.get_running_loop(), threading.get_ident()
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        thread.start()
        try:
            while True:
                self._pulse += 1
                lifeline.speak()
                await asyncio.sleep(LOOK_SECONDS / 2)
        finally:
            self._stopping.set()

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Look once."""
        if (resident := self._resident()) > self._memory_bytes:
            _log.error("node.too_large", bytes=resident, allowed_bytes=self._memory_bytes)
            self._end(TOO_LARGE)
        self._still = 0 if self._pulse != self._seen else self._still + 1
        self._seen = self._pulse
        if self._still == BLOCKED_LOOKS:
            _log.error("loop.blocked", capture=self._task(), stack=self._stack())
            self._release()
        elif self._still == STALLED_LOOKS:
            self._give_up()

    def _give_up(self) -> None:
        holding = self._task()
        try:
            if holding:
                self._blame(holding)
        finally:
            _log.error("node.stalled", capture=holding, stack=self._stack())
            self._end(STALLED)

    def _task(self) -> str | None:
        """The name of the capture, or else of the task, that the loop is in."""
        task = asyncio.current_task(self._loop)
        return captures.name_of(task) if task else None

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._of)  # noqa: SLF001 - there is no other way to it
        return "".join(traceback.format_stack(frame)) if frame else ""
