"""One attempt: what its outcome says of the lane."""

import msgspec
import pytest

from orchestrator.domain import ids
from orchestrator.domain.lanes import LONGEST_RETRY_AFTER_SECONDS
from orchestrator.store.children import Claimed, Failed, Outcome, Retry
from tests import factories
from tests.workers.running import CONFIG, Surface
from workers import execution
from workers.errors import SurfaceError
from workers.execution import Served

pytestmark = pytest.mark.anyio


async def outcome(error: SurfaceError, *, attempt: int = 1) -> Outcome:
    """How an attempt, of three at most, ends that this failure ends."""
    surface, parent = Surface(), ids.new()
    surface.released.set()
    surface.error = error
    sheet = execution.sheet(ids.text(parent), factories.plan())
    served = {CONFIG.name: Served(msgspec.structs.replace(CONFIG, attempts=3), surface)}
    return await execution.attempt(Claimed(parent, 1, attempt, 7), sheet, served)


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


async def test_a_day_is_an_hour():
    """No upstream takes a lane away for longer, nor a child's attempt."""
    retry = await outcome(refused(86_400))
    assert isinstance(retry, Retry)
    assert retry.not_before_seconds == retry.delay_seconds == LONGEST_RETRY_AFTER_SECONDS
