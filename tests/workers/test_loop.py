import asyncio
from collections.abc import Callable

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg_pool import PoolTimeout

from orchestrator import patience
from workers import loop
from workers.signals import Signal

pytestmark = pytest.mark.anyio

LONG = 10_000.0


class Steps:
    """A role that does what it is told, step by step, then stops the loop."""

    name = "steps"

    def __init__(self, *script: Callable[[], float]) -> None:
        self.wake = Signal()
        self.stopping = asyncio.Event()
        self.done = 0
        self._script = script

    async def step(self) -> float:
        await asyncio.sleep(0)
        self.done += 1
        rest = self._script[self.done - 1]()
        if self.done == len(self._script):
            self.stopping.set()
        return rest

    async def run(self) -> int:
        await loop.run(self, self.stopping)
        return self.done


def fail(error: Exception) -> Callable[[], float]:
    def step() -> float:
        raise error

    return step


def rest(seconds: float) -> Callable[[], float]:
    return lambda: seconds


async def test_a_role_with_work_steps_again_at_once():
    """A rest of zero means that there is more to do."""
    assert await Steps(*[rest(0)] * 50).run() == 50


async def test_stopping_ends_the_loop_without_a_rest():
    """A role that is told to stop during a step rests no more."""
    assert await Steps(rest(LONG)).run() == 1


async def test_a_loop_told_to_stop_before_it_begins_does_nothing():
    """Stopping is asked for before every step."""
    role = Steps(rest(0))
    role.stopping.set()
    assert await role.run() == 0


async def test_a_wake_cuts_the_rest_short():
    """Whoever has work for a role need not wait for its next look."""
    role = Steps(rest(LONG), rest(LONG), rest(LONG))
    running = asyncio.create_task(role.run())
    while not running.done():
        role.wake.set()
        await asyncio.sleep(0)
    assert await running == 3


async def test_a_wake_during_a_step_is_remembered():
    """News that comes while the role is busy is not slept over."""
    role = Steps(rest(LONG), rest(0))
    role.wake.set()
    assert await role.run() == 2


async def test_a_step_under_way_is_never_cut_short():
    """Stopping waits for the step: what was claimed is started, what was begun is ended."""
    role, entered, release = Steps(rest(0)), asyncio.Event(), asyncio.Event()
    ended = []

    class Busy:
        name, wake = "busy", role.wake

        async def step(self) -> float:
            entered.set()
            await release.wait()
            ended.append(True)
            return LONG

    running = asyncio.create_task(loop.run(Busy(), role.stopping))
    await entered.wait()
    role.stopping.set()
    await asyncio.sleep(0)
    assert not running.done()
    release.set()
    await running
    assert ended == [True]


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("the connection is closed"),
        psycopg.InterfaceError("the connection is lost"),
        psycopg.errors.DeadlockDetected("deadlock"),
        PoolTimeout("no connection"),
        ValueError("a fault of ours"),
    ],
)
async def test_a_loop_survives_whatever_a_step_raises(error):
    """After a pause the role steps on, whether the database was away or a step was broken."""
    assert await Steps(fail(error), rest(0), rest(0)).run() == 3


async def test_cancelling_the_loop_ends_it():
    """A cancellation is not taken for a failure."""
    role = Steps(rest(LONG), rest(0))
    running = asyncio.create_task(role.run())
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_pauses_double_up_to_five_seconds():
    """0.1, 0.2, 0.4 … 5 seconds."""
    assert [patience.backoff(n) for n in range(1, 9)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


@given(st.integers(1, 10**9))
def test_a_pause_is_never_longer_than_five_seconds(failures):
    """However long the outage, the next look is near."""
    assert 0 < patience.backoff(failures) <= patience.LONGEST_PAUSE_SECONDS


async def test_a_signal_set_often_is_heard_once():
    """A waiter hears all the news so far in one go, and then waits again."""
    signal = Signal()
    signal.set()
    signal.set()
    await signal.wait(LONG)
    waiting = asyncio.create_task(signal.wait(LONG))
    await asyncio.sleep(0)
    assert not waiting.done()
    signal.set()
    await waiting
    await signal.wait(0)
