"""Whatever an adapter does, it is a typed failure of its child and of no other."""

import asyncio

import pytest
from structlog.testing import capture_logs

from tests.waiting import eventually
from tests.workers.poison import FINE, Poison
from workers import captures
from workers.adapters import base
from workers.errors import SurfaceError

pytestmark = pytest.mark.anyio

FOR_GOOD = {"swells"}
REASONS = {
    "exits": "raised SystemExit",
    "interrupts": "raised KeyboardInterrupt",
    "raises": "raised Strange",
    "cancels": "canceled itself",
    "nothing": "answered with NoneType instead of a capture",
    "nonsense": "answered with a capture that is none: Expected `str`, got `int`",
    "unheard": "broke (TypeError)",
    "sulks": "broke (AttributeError)",
    "misreports": "broke (TypeError)",
    "spawns": "raised SystemExit",
    "leaks": "left 3 tasks running",
    "swells": "the capture is larger than 33554432 bytes",
    "deaf": "no answer within 0.05 s",
    "gives_up": "no answer in the time its adapter allows for one",
}
CODES = {
    "swells": "RESPONSE_TOO_LARGE",
    "deaf": "UPSTREAM_TIMEOUT",
    "gives_up": "UPSTREAM_TIMEOUT",
}


@pytest.fixture(autouse=True)
async def kept():
    """Tasks are made as in a worker."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(captures.kept)
    yield
    loop.set_task_factory(None)


def asked(query: str) -> base.CaptureRequest:
    return base.CaptureRequest(child="job_1.s.us", query=query, surface="s", country="US")


@pytest.mark.parametrize("deed", sorted(REASONS))
async def test_an_adapter_that_misbehaves_fails_its_child(deed):
    """Typed, and saying what it did; what else runs in this loop goes on."""
    poison = Poison()
    with capture_logs(), pytest.raises(SurfaceError) as caught:
        await base.run(poison, asked(deed), timeout_seconds=0.05 if deed == "deaf" else 30)
    assert caught.value.code == CODES.get(deed, "ADAPTER_ERROR")
    assert caught.value.permanent == (deed in FOR_GOOD)
    assert REASONS[deed] in caught.value.message
    assert captures.abandoned() == (deed == "deaf")
    poison.heard.set()
    await eventually(nothing_is_abandoned)


async def nothing_is_abandoned() -> bool:
    return captures.abandoned() == 0


async def test_a_task_that_ends_in_a_moment_is_no_leak():
    """A capture whose connection is still being closed is as good as any."""
    assert (await base.run(Poison(), asked("tidies"), timeout_seconds=30)).capture == FINE


async def test_what_a_capture_left_running_is_ended():
    """Nothing of it stays behind in the worker."""
    poison = Poison()
    with capture_logs(), pytest.raises(SurfaceError):
        await base.run(poison, asked("leaks"), timeout_seconds=30)
    ends = await asyncio.gather(*poison.leaked, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError] * 3


async def test_a_task_that_is_to_live_longer_does():
    """It is started in an empty context, and nobody's."""
    poison = Poison()
    await base.run(poison, asked("founds"), timeout_seconds=30)
    (task,) = poison.leaked
    assert not task.done()
    poison.heard.set()
    await task


async def test_tasks_that_have_ended_are_forgotten():
    """Whatever else keeps the context of a capture, such as a connection, keeps no tasks of it."""
    poison = Poison()
    await base.run(poison, asked("bustles"), timeout_seconds=30)
    assert all(reference() is None for reference in poison.tasks)


@pytest.mark.parametrize("deed", ["exits", "raises", "cancels"])
async def test_an_instant_adapter_that_misbehaves_fails_its_child(deed):
    """It runs in the task of its caller, which goes on."""
    poison = Poison()
    poison.instant = True
    with capture_logs(), pytest.raises(SurfaceError) as caught:
        await base.run(poison, asked(deed), timeout_seconds=30)
    assert (caught.value.code, REASONS[deed] in caught.value.message) == ("ADAPTER_ERROR", True)


async def test_who_is_canceled_twice_abandons_it_all_the_same():
    """What runs on is known, or the worker would wait for it at its end."""
    poison = Poison()
    running = asyncio.create_task(base.run(poison, asked("deaf"), timeout_seconds=0.01))
    await asyncio.sleep(0.1)
    running.cancel()
    with capture_logs(), pytest.raises(asyncio.CancelledError):
        await running
    assert captures.abandoned() == 1
    poison.heard.set()
    await eventually(nothing_is_abandoned)


async def test_who_is_canceled_is_rid_of_a_deaf_capture():
    """A drain or a cancel waits for nobody who does not listen; the task has the child's name."""
    poison = Poison()
    capture = base.run(poison, asked("deaf"), timeout_seconds=30)
    running = asyncio.create_task(capture)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        await running
    told = [log["capture"] for log in logs if log["event"] == "adapter.ignores_cancellation"]
    assert told == ["job_1.s.us"]
    assert captures.abandoned() == 1
    poison.heard.set()
    await eventually(nothing_is_abandoned)
