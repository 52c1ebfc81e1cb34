"""Webhooks that are down, ill or slow, and deliverers that die with a letter in hand."""

import asyncio

import pytest

from tests.chaos.deployment import WORKERS
from tests.chaos.receiver import fail, hang, reset

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(400)]


async def test_a_receiver_is_down(survives, scale):
    """Work goes on meanwhile; all is told once it is back."""

    async def leave(here, _):
        here.receiver.leave()
        await asyncio.sleep(scale.of(5, 40))
        here.receiver.come_back()

    row = await survives("webhook down", leave)
    assert row.during >= scale.share


async def test_a_receiver_is_ill_in_every_way(survives, scale, here):
    """Errors, resets, silence, and a redirect to an address that nobody may call."""

    async def ail(here, _):
        for manner in (fail, reset, here.receiver.redirect, hang):
            here.receiver.behave(manner)
            await asyncio.sleep(scale.of(2, 15))
        here.receiver.behave()

    row = await survives("webhook failing, resetting, redirecting, silent", ail)
    assert row.during >= scale.share
    assert here.receiver.neighbour == []


async def test_deliverers_are_killed_between_send_and_record(survives, scale):
    """The receiver has it, the one who sent it is dead: it comes once more."""

    async def kill(here, _):
        here.receiver.behave(here.receiver.hold)
        await asyncio.sleep(scale.of(2, 5))
        here.strike(*WORKERS)
        here.receiver.let_go()

    row = await survives("workers SIGKILL between send and record", kill)
    assert row.repeated > 0


async def test_postgres_restarts_between_send_and_record(survives, scale):
    """What was acknowledged meanwhile is recorded once it is back."""

    async def restart(here, _):
        here.receiver.behave(here.receiver.hold)
        await asyncio.sleep(scale.of(2, 5))
        await here.cluster.stop()
        here.receiver.let_go()
        await here.cluster.start()

    await survives("PostgreSQL restart between send and record", restart)
