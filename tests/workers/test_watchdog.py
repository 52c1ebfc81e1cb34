"""A loop that does not turn, and a process that grows without end."""

import asyncio

import pytest
from structlog.testing import capture_logs

from orchestrator.errors import SUPERVISED
from orchestrator.settings import LEAST_MEMORY_BYTES
from workers import captures, memory
from workers.watchdog import BLOCKED_LOOKS, STALLED, STALLED_LOOKS, TOO_LARGE, Watchdog

pytestmark = pytest.mark.anyio

ALLOWED = 1000


class Watched:
    """A watchdog that looks when a test says so, and what it did."""

    def __init__(self) -> None:
        self.blamed: list[str] = []
        self.ends: list[int] = []
        self.bytes = 0
        self.dog = Watchdog(
            memory_bytes=ALLOWED,
            release=lambda: self.blamed.append("released"),
            blame=self.blamed.append,
            end=self.ends.append,
            resident=lambda: self.bytes,
        )

    def look(self, times: int) -> list[dict]:
        """What is said while it looks so often and the loop, in which we are, does not turn."""
        with capture_logs() as logs:
            for _ in range(times):
                self.dog.look()
        return logs


@pytest.fixture
async def watched():
    made = Watched()
    pulse = asyncio.create_task(made.dog.pulse())
    await asyncio.sleep(0)
    made.dog.look()
    yield made
    pulse.cancel()


async def test_a_blocked_loop_is_reported_with_the_child_and_its_stack(watched):
    """Once, after five seconds; the process goes on, and nobody waits for its locks."""
    asyncio.current_task().set_name("job_1.s.us")
    (said,) = watched.look(STALLED_LOOKS - 1)
    assert (said["event"], said["log_level"]) == ("loop.blocked", "error")
    assert said["capture"] == "job_1.s.us"
    assert "test_a_blocked_loop_is_reported" in said["stack"]
    assert (watched.blamed, watched.ends) == (["released"], [])


async def test_a_loop_that_turns_again_is_no_longer_blocked(watched):
    """It is looked at anew."""
    assert watched.look(BLOCKED_LOOKS - 1) == []
    watched.dog._pulse += 1
    assert watched.look(BLOCKED_LOOKS) == []
    assert len(watched.look(1)) == 1


async def test_a_stalled_process_blames_the_child_and_ends(watched):
    """After thirty seconds others are to take its children."""
    asyncio.current_task().set_name("job_1.s.us")
    watched.look(STALLED_LOOKS)
    assert (watched.blamed, watched.ends) == (["released", "job_1.s.us"], [STALLED])


async def test_a_child_whose_task_blocks_is_blamed(watched):
    """Whatever name the adapter gave to the task it started."""

    async def blocks():
        watched.look(STALLED_LOOKS)

    async def capture():
        await asyncio.create_task(blocks(), name="helper")

    loop = asyncio.get_running_loop()
    loop.set_task_factory(captures.kept)
    try:
        await captures.bounded(capture(), 30, name="job_1.s.us")
    finally:
        loop.set_task_factory(None)
    assert (watched.blamed, watched.ends) == (["released", "job_1.s.us"], [STALLED])


async def test_a_process_that_cannot_blame_ends_all_the_same(watched):
    """The database may be away."""
    watched.dog._blame = {}.pop
    with pytest.raises(KeyError):
        watched.look(STALLED_LOOKS)
    assert watched.ends == [STALLED]


async def test_a_process_that_grows_too_large_ends(watched):
    """Before the system chooses whom to kill, which might be the database."""
    watched.bytes = ALLOWED
    assert watched.look(1) == []
    watched.bytes += 1
    (said,) = watched.look(1)
    assert (said["event"], said["allowed_bytes"]) == ("node.too_large", ALLOWED)
    assert watched.ends == [TOO_LARGE]


async def test_workers_of_one_supervisor_share_the_memory(monkeypatch):
    """Half of what there is, for all of them; each has enough to begin with."""
    alone = memory.allowed_bytes()
    for workers, share in [("2", alone // 2), ("0", alone), ("100000", LEAST_MEMORY_BYTES)]:
        monkeypatch.setenv(SUPERVISED, workers)
        assert memory.allowed_bytes() == share
