"""Quarantine: a child that may be what kills workers is captured in a process of its own.

The process is forked from a server that has everything loaded, so it starts in milliseconds. What
becomes of it is its own affair: if it dies, hangs or wants all memory, its worker tells that of the
one child it had. It ends with its worker.
"""

import asyncio
import faulthandler
import multiprocessing
import os
import resource
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import NamedTuple

import msgspec
import structlog

from orchestrator import observability
from orchestrator.settings import Settings
from orchestrator.surfaces import SurfaceConfig
from workers import captures
from workers.adapters import base, discovery
from workers.adapters.base import Captured, CaptureRequest
from workers.adapters.normalising import decode
from workers.errors import LostAloneError, SurfaceError

MOST = 32
"""Processes of a worker at once; more children wait for their turn."""
PART = 4
LEAST_BYTES = 512 * 1024 * 1024
"""Each may have one part in so many of a worker's memory, but this at least."""
PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)
STALLED_SECONDS = 5.0
"""A capture that has said nothing so long after its time was over never will."""
_WORKER = "workers.__main__"
_log = structlog.get_logger()


class _Work(NamedTuple):
    settings: Settings
    config: SurfaceConfig
    request: CaptureRequest
    memory_bytes: int


class _Refused(msgspec.Struct, frozen=True):
    """A `SurfaceError` on its way between processes."""

    code: str
    message: str
    permanent: bool
    retry_after_seconds: float | None
    response_code: int | None


class _Told(msgspec.Struct, frozen=True):
    """How a capture ended: its JSON, or why there is none."""

    captured: str | None = None
    refused: _Refused | None = None


class Quarantine:
    """Captures children alone, each with a part of so much memory at most."""

    def __init__(self, settings: Settings, *, memory_bytes: int) -> None:
        self._settings = settings
        self._memory_bytes = max(LEAST_BYTES, memory_bytes // PART)
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload([__name__, _WORKER])
        self._threads = ThreadPoolExecutor(MOST, thread_name_prefix="quarantine")

    async def capture(self, config: SurfaceConfig, request: CaptureRequest) -> Captured:
        """As `base.run`; `LostAloneError` when its process did not come to an end of it."""
        for pause in PAUSES_SECONDS:
            try:
                return await self._capture(config, request)
            except OSError as error:  # no process, no descriptors: it is not the child's fault
                _log.warning("quarantine.full", child=request.child, error=type(error).__name__)
                await asyncio.sleep(pause)
        return await self._capture(config, request)

    async def _capture(self, config: SurfaceConfig, request: CaptureRequest) -> Captured:
        ours, theirs = self._processes.Pipe()
        stop, stopped = self._processes.Pipe()
        work = _Work(self._settings, config, request, self._memory_bytes)
        process = self._processes.Process(target=_live, args=(theirs, work), daemon=True)
        seconds = config.timeout_seconds + STALLED_SECONDS
        watched = partial(_watched, process, ours, theirs, stopped, seconds)
        with closing(stop):
            said = await asyncio.get_running_loop().run_in_executor(self._threads, watched)
        try:
            told = msgspec.json.decode(said, type=_Told)
        except msgspec.DecodeError:
            raise LostAloneError("said nothing that makes sense") from None
        if told.refused:
            raise SurfaceError(**msgspec.structs.asdict(told.refused))
        return _captured(told.captured or "")

    def close(self) -> None:
        """No capture runs any more; no new one may begin."""
        self._threads.shutdown(wait=False)


def _captured(json: str) -> Captured:
    return Captured(decode(json.encode()), json.encode())


def _watched(
    process: BaseProcess, ours: Connection, theirs: Connection, stopped: Connection, seconds: float
) -> bytes:
    """What the process says of its capture; nothing is left of it afterwards."""
    with closing(ours), closing(stopped):
        with closing(theirs):
            process.start()
        try:
            news = wait((ours, stopped), seconds)
            if ours in news:
                return ours.recv_bytes()
        except (EOFError, OSError):
            process.join()
            raise LostAloneError(f"died (exit code {process.exitcode})") from None
        finally:
            _kill(process)
            process.close()
    raise LostAloneError(f"did not end within {seconds:g} s")


def _kill(process: BaseProcess) -> None:
    """With all that it has started: it leads a group of its own, once it lives."""
    if process.pid is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _live(reply: Connection, work: _Work) -> None:
    """The life of the process; whoever holds the interpreter's lock for good cannot prolong it."""
    os.setpgid(0, 0)
    for number in (signal.SIGTERM, signal.SIGINT):  # told to everybody where a service is stopped
        signal.signal(number, _unheard)
    seconds = work.config.timeout_seconds
    faulthandler.dump_traceback_later(seconds + 2 * STALLED_SECONDS, exit=True)
    threading.Thread(target=_follow, args=(reply,), daemon=True).start()
    observability.configure(work.settings)
    resource.setrlimit(resource.RLIMIT_DATA, (work.memory_bytes, work.memory_bytes))
    with asyncio.Runner() as runner:
        runner.get_loop().set_task_factory(captures.kept)
        told = runner.run(_capture(work))
        reply.send_bytes(msgspec.json.encode(told))
        os.killpg(0, signal.SIGKILL)  # whatever else the adapter has started


def _follow(reply: Connection) -> None:
    """End when our worker has: it never says anything, so there is only its end to hear."""
    reply.poll(None)
    os.killpg(0, signal.SIGKILL)


def _unheard(*_: object) -> None:
    """Its worker says when it ends; what it starts itself is not to ignore signals."""


async def _capture(work: _Work) -> _Told:
    seconds = work.config.timeout_seconds
    try:
        adapter = discovery.make(work.config)
        captured = await base.run(adapter, work.request, timeout_seconds=seconds)
    except SurfaceError as error:
        refused = _Refused(
            error.code,
            error.message,
            error.permanent,
            error.retry_after_seconds,
            error.response_code,
        )
        return _Told(refused=refused)
    return _Told(captured=captured.json.decode())
