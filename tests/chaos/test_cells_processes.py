"""Processes that die, or stand still, while all others work."""

import asyncio

import pytest

from orchestrator.store.nodes import DEAD_AFTER_SECONDS
from tests.chaos.deployment import APIS, WORKERS

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(400)]


async def test_a_worker_is_killed(survives):
    """What it held is captured by others once it counts as dead."""

    async def kill(here, _):
        here.strike(await here.busiest())

    await survives("worker SIGKILL", kill)


async def test_workers_are_killed_again_and_again(survives, scale):
    """Each time another; nothing of it is any capture's fault."""

    async def kill(here, _):
        for n in range(int(scale.of(3, 15))):
            here.strike(WORKERS[n % 2])
            await asyncio.sleep(2)

    await survives("worker SIGKILL every 2 s", kill)


async def test_a_worker_stands_still_past_its_death(survives):
    """Others finish what it held; waking up it changes nothing of that, and works on."""

    async def freeze(here, _):
        frozen = here.freeze(await here.busiest())
        await asyncio.sleep(DEAD_AFTER_SECONDS + 3)
        here.thaw(frozen)

    await survives("worker SIGSTOP past its death, SIGCONT", freeze)


async def test_api_processes_are_killed(survives, scale):
    """Whoever asks again with its idempotency key has the same job."""

    async def kill(here, _):
        for n in range(int(scale.of(2, 8))):
            here.strike(APIS[n % 2])
            await asyncio.sleep(2)

    await survives("API SIGKILL under load", kill)
