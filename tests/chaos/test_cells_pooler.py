"""A pooler stands between our processes and their database."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos import cluster as clusters
from tests.chaos import deployment
from tests.chaos.cluster import Cluster
from tests.chaos.deployment import Deployment
from tests.pgbouncer.bouncing import Bouncer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.optional,
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
async def server(anyio_backend) -> AsyncIterator[Cluster]:
    """What the pooler stands before."""
    async with clusters.clusters("one") as (one,):
        one.make()
        async with one.running():
            await clusters.furnish(one)
            yield one


@pytest.fixture(scope="module")
async def pgbouncer(server) -> AsyncIterator[Bouncer]:
    """In transaction mode."""
    with tempfile.TemporaryDirectory(prefix="b-") as directory:  # short: a socket lives in it
        made = Bouncer(Path(directory), server.url())
        await asyncio.to_thread(made.start)
        yield made
        made.stop()


@pytest.fixture(scope="module")
async def here(server, pgbouncer, tmp_path_factory) -> AsyncIterator[Deployment]:
    """Processes that reach the database through it, and listen beside it."""
    place, direct = tmp_path_factory.mktemp("pooler"), server.url()
    async with deployment.over(place, server, pgbouncer.url(direct), listen=direct) as made:
        yield made


async def test_pgbouncer_is_restarted(survives, pgbouncer):
    """All connections but the listening ones break, and are made anew."""

    async def restart(*_):
        pgbouncer.kill()
        await asyncio.sleep(2)
        await asyncio.to_thread(pgbouncer.start)

    await survives("PgBouncer restart", restart)
