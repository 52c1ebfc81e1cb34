"""One attempt: what its outcome says of the lane."""

import msgspec
import pytest
from structlog.testing import capture_logs

from orchestrator.domain import ids
from orchestrator.domain.lanes import LONGEST_RETRY_AFTER_SECONDS
from orchestrator.store.children import (
    SUSPECT_AFTER,
    Claimed,
    Completed,
    Failed,
    Outcome,
    Retry,
)
from tests import factories
from tests.workers.running import CAPTURE, CONFIG, Surface, never_alone
from workers import execution
from workers.adapters.base import Captured
from workers.errors import LostAloneError, SurfaceError
from workers.execution import Alone, Served

pytestmark = pytest.mark.anyio


async def outcome(error: SurfaceError, *, attempt: int = 1) -> Outcome:
    """How an attempt, of three at most, ends that this failure ends."""
    surface, parent = Surface(), ids.new()
    surface.released.set()
    surface.error = error
    sheet = execution.sheet(ids.text(parent), factories.plan())
    served = {CONFIG.name: Served(msgspec.structs.replace(CONFIG, attempts=3), surface)}
    return await execution.attempt(Claimed(parent, 1, attempt, 7), sheet, served, never_alone)


def refused(seconds: float | None, *, permanent: bool = False) -> SurfaceError:
    return SurfaceError(
        "UPSTREAM_STATUS",
        "429",
        permanent=permanent,
        retry_after_seconds=seconds,
        response_code=429,
    )


async def test_what_an_upstream_asked_for_is_told_of_its_lane():
    """The child waits no less than that, and no other child of the lane may start before."""
    retry = await outcome(refused(42))
    assert isinstance(retry, Retry)
    assert (retry.not_before_seconds, retry.response_code) == (42, 429)
    assert retry.delay_seconds == 42


@pytest.mark.parametrize(("attempt", "permanent"), [(3, False), (1, True)])
async def test_the_last_attempt_tells_it_as_well(attempt, permanent):
    """The child is over, its lane is not."""
    failed = await outcome(refused(42, permanent=permanent), attempt=attempt)
    assert isinstance(failed, Failed)
    assert (failed.not_before_seconds, failed.response_code) == (42, 429)


async def test_who_asked_for_nothing_holds_nothing_up():
    """Without a `Retry-After` the lane goes on."""
    retry = await outcome(refused(None))
    assert isinstance(retry, Retry)
    assert retry.not_before_seconds == 0
    assert retry.delay_seconds <= 1


async def run(claimed: Claimed, alone: Alone) -> tuple[Outcome, Surface]:
    """How it ends, and who was asked in this process."""
    surface = Surface()
    surface.released.set()
    sheet = execution.sheet(ids.text(claimed.parent_id), factories.plan())
    served = {CONFIG.name: Served(CONFIG, surface)}
    return await execution.attempt(claimed, sheet, served, alone), surface


async def test_a_suspect_is_captured_alone():
    """Lost twice it may be what kills workers; lost once it may be anybody."""
    asked = []

    async def alone(config, request):
        asked.append((config.name, request.child))
        return Captured(CAPTURE, b"{}")

    parent = ids.new()
    once, surface = await run(Claimed(parent, 1, 1, 7, SUSPECT_AFTER - 1), alone)
    assert isinstance(once, Completed)
    assert (len(surface.asked), asked) == (1, [])
    twice, surface = await run(Claimed(parent, 1, 1, 7, SUSPECT_AFTER), alone)
    assert isinstance(twice, Completed)
    assert (twice.capture, surface.asked) == ("{}", [])
    assert asked == [(CONFIG.name, f"{ids.text(parent)}.chatgpt.us_city-0")]


async def test_a_suspect_whose_own_process_dies_is_what_it_died_of():
    """It fails for good, and says what happened."""

    async def alone(*_):
        raise LostAloneError("died (exit code -9)")

    with capture_logs():
        failed, _ = await run(Claimed(ids.new(), 1, 1, 7, SUSPECT_AFTER), alone)
    assert isinstance(failed, Failed)
    assert failed.failure.code == "WORKER_LOST"
    assert failed.failure.message == (
        "2 worker processes that ran this cell died; run in a process of its own, that died"
        " (exit code -9)."
    )


async def test_a_suspect_fails_as_anybody_does():
    """What its surface says is heard; it is tried again if that may help."""

    async def alone(*_):
        raise refused(42)

    retry, _ = await run(Claimed(ids.new(), 1, 1, 7, SUSPECT_AFTER), alone)
    assert isinstance(retry, Retry)
    assert retry.not_before_seconds == 42


async def test_a_fault_of_ours_ends_one_attempt():
    """Whatever it is: what is raised here would end the worker, and with it every neighbour."""

    async def alone(*_):
        raise ZeroDivisionError

    with capture_logs():
        retry, _ = await run(Claimed(ids.new(), 1, 1, 7, SUSPECT_AFTER), alone)
    assert isinstance(retry, Retry)
    assert retry.failure.code == "ADAPTER_ERROR"


@pytest.mark.parametrize("wrong", [{"code": 429}, {"message": ValueError("no")}])
def test_a_failure_that_could_not_be_stored_is_none(wrong):
    """An adapter hears of it at once, not the settler, which has others to store."""
    with pytest.raises(TypeError):
        SurfaceError(**{"code": "X", "message": "no"} | wrong, permanent=True)


async def test_a_day_is_an_hour():
    """No upstream takes a lane away for longer, nor a child's attempt."""
    retry = await outcome(refused(86_400))
    assert isinstance(retry, Retry)
    assert retry.not_before_seconds == retry.delay_seconds == LONGEST_RETRY_AFTER_SECONDS
