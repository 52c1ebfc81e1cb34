"""A child in a process of its own: whatever it does there, its worker hears how it ended."""

import asyncio
import os
import signal

import pytest

from orchestrator import configuration
from orchestrator.settings import Settings
from tests.waiting import eventually
from tests.workers import poison
from workers.adapters.base import CaptureRequest
from workers.errors import LostAloneError, SurfaceError
from workers.quarantine import Quarantine

pytestmark = pytest.mark.anyio

TABLE = """
[surfaces.poison]
adapter = "poison"
timeout = "{seconds}s"
"""
MEMORY_BYTES = 512 * 1024 * 1024


@pytest.fixture
async def capture(tmp_path, monkeypatch):
    """Captures alone what a query says."""
    monkeypatch.syspath_prepend(poison.installed(tmp_path))
    path = tmp_path / "parallax.toml"
    quarantine = Quarantine(Settings(config=path), memory_bytes=MEMORY_BYTES)

    async def run(query: str, seconds: float = 30):
        path.write_text(TABLE.format(seconds=seconds))
        surface = configuration.load(path).surfaces["poison"]
        asked = CaptureRequest(child="job_1.s.us", query=query, surface="poison", country="US")
        return await quarantine.capture(surface, asked)

    yield run
    quarantine.close()


async def test_what_is_well_behaved_is_captured_as_anywhere(capture):
    """A suspect is no convict."""
    captured = await capture("answers")
    assert captured.capture == poison.FINE
    assert b'"tea"' in captured.json


async def test_one_that_dies_has_only_itself_to_lose(capture):
    """How it died is told."""
    with pytest.raises(LostAloneError, match=r"^died \(exit code -9\)$"):
        await capture("dies")


async def test_one_that_blocks_is_killed(capture):
    """Soon after its time is over."""
    with pytest.raises(LostAloneError, match=r"^did not end within 5\.1 s$"):
        await capture("blocks", 0.1)


@pytest.mark.parametrize(
    ("query", "code"),
    [("hoards", "ADAPTER_ERROR"), ("raises", "ADAPTER_ERROR"), ("deaf", "UPSTREAM_TIMEOUT")],
)
async def test_what_goes_wrong_is_typed_as_anywhere(capture, query, code):
    """One that wants all memory is refused it."""
    with pytest.raises(SurfaceError) as caught:
        await capture(query, 30 if query == "hoards" else 0.1)
    assert (caught.value.code, caught.value.permanent) == (code, False)


@pytest.mark.parametrize("deed", ["notes", "forks"])
async def test_one_that_is_canceled_ends(capture, tmp_path, deed):
    """Nothing of it runs on, nor of what it has started."""
    running = asyncio.create_task(capture(f"{deed} {tmp_path / 'pid'}"))

    async def noted() -> int | None:
        written = tmp_path / "pid"
        return int(written.read_text()) if written.exists() and written.read_text() else None

    pid = await eventually(noted)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    async def gone() -> bool:
        try:
            os.kill(pid, signal.SIG_DFL)
        except ProcessLookupError:
            return True
        return False

    await eventually(gone)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_that_everybody_hears_is_its_workers_affair(capture, tmp_path, number):
    """A service manager tells all processes; a suspect that died of that would be condemned."""
    running = asyncio.create_task(capture(f"waits {tmp_path / 'pid'} {tmp_path / 'gate'}"))

    async def noted() -> int | None:
        written = tmp_path / "pid"
        return int(written.read_text()) if written.exists() and written.read_text() else None

    os.kill(await eventually(noted), number)
    await asyncio.to_thread((tmp_path / "gate").touch)
    assert (await running).capture == poison.FINE


async def test_many_at_once_do_not_mix(capture):
    """Each is in a process of its own: who dies takes nobody along."""
    ends = await asyncio.gather(
        *(capture("dies" if n % 3 == 0 else "answers") for n in range(9)), return_exceptions=True
    )
    assert [isinstance(end, LostAloneError) for end in ends] == [n % 3 == 0 for n in range(9)]
