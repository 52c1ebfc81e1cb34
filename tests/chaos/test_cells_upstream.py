"""More work than there is room for, and an upstream that is ill."""

import asyncio

import pytest

from tests.chaos.cells import CLIENTS
from tests.chaos.deployment import ANSWER_SECONDS, PLACES
from tests.e2e.witness import FINE, Hold, Reply, always

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(400)]

ROOM = 30
"""Parents that may wait in the queue."""
HOT = 3 * PLACES
"""Those that are captured, or next to be: what fans out is as much as twice fits a lane."""
CROWD = int(1.5 * (HOT + ROOM)) - CLIENTS
SLOW = always(FINE, seconds=2.5 * ANSWER_SECONDS)
ERRORS = always(Reply(500), seconds=0.05)


async def test_more_is_asked_than_there_is_room_for(survives, scale):
    """Half as many clients again as fit: who is refused comes back in its time."""

    async def crowd(_, load):
        leaving = load.join(clients=CROWD)
        await asyncio.sleep(scale.of(6, 40))
        leaving.set()
        assert load.met["429 QUEUE_CAPACITY_EXCEEDED"] > 0

    row = await survives("1.5 x overload", crowd, queue_capacity=ROOM)
    assert row.during >= scale.share


async def test_an_upstream_that_is_slow_then_fails_then_hangs(survives, scale):
    """Breakers open, and close soon after all is well again."""

    async def ail(here, _):
        held = Hold()
        for manner in (SLOW, ERRORS, held):
            here.behave(manner)
            await asyncio.sleep(scale.of(3, 15))
        here.behave()
        here.upstream.let_go(held)

    await survives("upstream slow, failing, hanging", ail)
