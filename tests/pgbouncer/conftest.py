import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e import upstream as upstreams
from tests.e2e.upstream import Upstream
from tests.pgbouncer.bouncing import Bouncer


@pytest.fixture(scope="module")
def bouncer(server) -> Iterator[Bouncer]:
    """PgBouncer before every database of the server."""
    with tempfile.TemporaryDirectory(prefix="b-") as directory:  # short: a socket lives in it
        made = Bouncer(Path(directory), server("postgres"))
        made.start()
        yield made
        made.stop()


@pytest.fixture
def pooled(bouncer, database) -> str:
    """The URL of this test's database, through PgBouncer."""
    return bouncer.url(database)


@pytest.fixture(scope="module")
def empty(new_database) -> str:
    """The URL of a database without a schema, for all tests of a module."""
    return new_database()


@pytest.fixture(scope="module")
async def upstream(anyio_backend) -> AsyncIterator[Upstream]:
    """What the surface `site` calls; it holds back what a test says."""
    async with upstreams.serving() as made:
        yield made
