"""A pooler stands between our processes and their database."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.chaos import cluster as clusters
from tests.chaos import deployment, pooler
from tests.chaos.deployment import Deployment
from tests.chaos.pooler import Pooler

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.optional,
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
async def pgbouncer(anyio_backend) -> AsyncIterator[Pooler]:
    """In transaction mode, before a server of its own."""
    pooler.program()
    async with clusters.clusters("one") as (one,):
        one.make()
        async with one.running():
            await clusters.furnish(one)
            async with pooler.pooling(one) as made:
                yield made


@pytest.fixture(scope="module")
async def here(pgbouncer, tmp_path_factory) -> AsyncIterator[Deployment]:
    """Processes that reach the database through it, and listen beside it."""
    place, direct = tmp_path_factory.mktemp("pooler"), pgbouncer.cluster
    async with deployment.over(place, direct, pgbouncer.url, listen=direct.url()) as made:
        yield made


async def test_pgbouncer_is_restarted(survives, pgbouncer):
    """All connections but the listening ones break, and are made anew."""

    async def restart(*_):
        pgbouncer.stop()
        await asyncio.sleep(2)
        await pgbouncer.start()

    await survives("PgBouncer restart", restart)
