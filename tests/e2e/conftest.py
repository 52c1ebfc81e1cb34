from collections.abc import AsyncIterator

import pytest

from tests.e2e import upstream as upstreams
from tests.e2e.upstream import Upstream


@pytest.fixture(scope="module")
async def upstream(anyio_backend) -> AsyncIterator[Upstream]:
    """What the surface `site` calls; it holds back what a test says."""
    async with upstreams.serving() as made:
        yield made
