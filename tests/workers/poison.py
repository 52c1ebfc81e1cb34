"""An adapter that does as its query says, and entry points by which it is found like anyone's."""

import asyncio
import os
import signal
import weakref
from contextlib import suppress
from contextvars import Context
from pathlib import Path

import msgspec

from orchestrator.domain.envelope import Answer, Capture, Evidence, Provenance, Seen
from workers.errors import SurfaceError

NAME = "poison"
METADATA = "Metadata-Version: 2.1\nName: poison\nVersion: 1.0\n"
ENTRY = f"[parallax.adapters]\n{NAME} = {NAME}:build\n"
PIECE_BYTES = 16 * 1024 * 1024
FINE = Capture(
    answer=Answer(text="tea", markdown="tea"),
    evidence=Evidence(),
    provenance=Provenance(adapter=NAME, method="simulator", region=Seen(requested="US")),
)


class Strange(BaseException):
    """What no handler of exceptions expects."""


def installed(directory: Path) -> Path:
    """The directory, with this adapter in it as if it had been installed there."""
    about = directory / "poison-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(METADATA)
    (about / "entry_points.txt").write_text(ENTRY)
    (directory / f"{NAME}.py").write_text(Path(__file__).read_text())
    return directory


class Poison:
    method = "simulator"
    options_schema = {"type": "object", "additionalProperties": False}  # noqa: RUF012 - a constant
    countries = None
    instant = False

    def __init__(self):
        self.heard = asyncio.Event()

    async def capture(self, request):
        """`request.query` begins with what to do."""
        deed = request.query.split()[0]
        return await getattr(self, deed)(request)

    async def close(self):
        pass

    async def answers(self, request):
        return FINE

    async def holds(self, request):
        """Answers once the file that the query names is there."""
        while not Path(request.query.split()[1]).exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
            await asyncio.sleep(0.02)
        return FINE

    async def notes(self, request):
        """Writes down which process this is, and stays."""
        Path(request.query.split()[1]).write_text(str(os.getpid()))  # noqa: ASYNC240 - at once
        await asyncio.Event().wait()

    async def waits(self, request):
        """Writes down which process this is, and answers once the second file is there."""
        _, note, gate = request.query.split()
        Path(note).write_text(str(os.getpid()))  # noqa: ASYNC240 - at once
        return await self.holds(msgspec.structs.replace(request, query=f"holds {gate}"))

    async def dies(self, request):
        os.kill(os.getpid(), signal.SIGKILL)

    async def blocks(self, request):
        while True:
            pass

    async def gives_up(self, request):
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()

    async def exits(self, request):
        raise SystemExit(3)

    async def interrupts(self, request):
        raise KeyboardInterrupt

    async def raises(self, request):
        raise Strange

    async def cancels(self, request):
        raise asyncio.CancelledError

    async def nothing(self, request):
        return None

    async def nonsense(self, request):
        answer = msgspec.structs.replace(FINE.answer, text=5)
        return msgspec.structs.replace(FINE, answer=answer)

    async def unheard(self, request):
        return msgspec.structs.replace(FINE, raw=object())

    async def leaks(self, request):
        self.leaked = [asyncio.ensure_future(asyncio.Event().wait()) for _ in range(3)]
        return FINE

    async def tidies(self, request):
        """Leaves a task that ends in a moment."""
        self.leaked = [asyncio.ensure_future(asyncio.sleep(0.01))]
        return FINE

    async def misreports(self, request):
        raise SurfaceError("X", ValueError("no"), permanent=True)

    async def spawns(self, request):
        """A task of it ends the process, if it can."""
        return await asyncio.ensure_future(self.exits(request))

    async def founds(self, request):
        """Starts what outlives it."""
        task = asyncio.get_running_loop().create_task(self.heard.wait(), context=Context())
        self.leaked = [task]
        return FINE

    async def bustles(self, request):
        """Starts many tasks, one after the other."""
        self.tasks = []
        for _ in range(5):
            task = asyncio.ensure_future(asyncio.sleep(0))
            self.tasks.append(weakref.ref(task))
            await task
        return FINE

    async def forks(self, request):
        """Starts a process that is deaf, notes it and stays."""
        child = await asyncio.create_subprocess_exec("sleep", "600")
        Path(request.query.split()[1]).write_text(str(child.pid))  # noqa: ASYNC240 - at once
        await asyncio.Event().wait()

    async def swells(self, request):
        return msgspec.structs.replace(FINE, raw="x" * (40 * 1024 * 1024))

    async def hoards(self, request):
        hoard = []
        while True:
            hoard.append(b"x" * PIECE_BYTES)

    async def deaf(self, request):
        """Hears nothing but `heard`."""
        while not self.heard.is_set():
            with suppress(asyncio.CancelledError):
                await self.heard.wait()


def build(config):
    return Poison()
