"""The database's server is lost for good, and its standby takes over."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.chaos import cluster as clusters
from tests.chaos import deployment
from tests.chaos.cluster import Cluster
from tests.chaos.deployment import Deployment

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
async def servers(anyio_backend) -> AsyncIterator[list[Cluster]]:
    """A primary whose commits wait for its standby."""
    synchronous = {"synchronous_standby_names": "*"}
    async with clusters.clusters("primary", "standby", **synchronous) as (primary, standby):
        primary.make()
        async with primary.running():
            standby.follow(primary)
            async with standby.running():
                await clusters.furnish(primary)
                yield [primary, standby]


@pytest.fixture(scope="module")
async def here(servers, tmp_path_factory) -> AsyncIterator[Deployment]:
    """Processes that know of both servers, and want the one that takes writes."""
    place, url = tmp_path_factory.mktemp("failover"), clusters.either(servers)
    async with deployment.over(place, servers[0], url) as made:
        yield made


async def test_a_standby_takes_over(survives, servers):
    """What was acknowledged is there too: a synchronous standby has it before the client knows."""

    async def fail_over(here, _):
        await here.crash()
        here.cluster = servers[1]
        await asyncio.to_thread(here.cluster.promote)

    await survives("failover to a promoted standby", fail_over)
