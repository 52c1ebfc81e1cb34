"""What every test may ask for: a real PostgreSQL, and a database of its own on it.

`PARALLAX_TEST_DATABASE_URL` names the server (as a role that may create databases); without
it the embedded one runs for the session, shared by the processes of pytest-xdist. A migrated
template is made once and cloned per test by `file_copy`, which a server without fsync does in half
the time of `wal_log`; where its files are in memory (`tests/places.py`), in a tenth of that.
`PARALLAX_CI=1` makes a skipped test of the mark `optional` a failure.
"""

import logging
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import structlog
from hypothesis import settings
from psycopg import sql

from orchestrator import embedded
from orchestrator.embedded import locks
from orchestrator.store import migrations
from tests import places
from tests.outages import Outage
from tests.suites import (
    pytest_collection_modifyitems,
    pytest_runtest_logreport,
    pytest_terminal_summary,
)

__all__ = [
    "pytest_collection_modifyitems",
    "pytest_runtest_logreport",
    "pytest_terminal_summary",
]

RUN_DIR = "PARALLAX_TEST_RUN_DIR"
SERVER = "PARALLAX_TEST_DATABASE_URL"
OURS = ("PARALLAX_TEST_", "PARALLAX_CI")
# No test is judged by its time; `--hypothesis-profile=long` looks harder.
settings.register_profile("quick", deadline=None)
settings.register_profile("long", deadline=None, max_examples=1000, stateful_step_count=100)
settings.load_profile("quick")
FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "log_min_messages": "fatal",
    "max_wal_size": "256MB",  # of memory, perhaps
}


def pytest_configure(config: pytest.Config) -> None:
    """What the developer's shell has set is not for tests.

    Settings for a server are dropped, and Ctrl-C, which a job in the background ignores, works in
    the processes that tests start.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in os.environ if name.startswith("PARALLAX_")]:
        if not name.startswith(OURS):
            del os.environ[name]
    if not hasattr(config, "workerinput"):  # pytest-xdist's processes inherit it
        run_dir = tempfile.tempdir = places.made()
        os.environ[RUN_DIR] = os.environ["TMPDIR"] = run_dir


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind, neither files nor databases."""
    run_dir = os.environ.get(RUN_DIR)
    if run_dir is None or hasattr(config, "workerinput"):
        return
    if SERVER in os.environ:
        with psycopg.connect(os.environ[SERVER], autocommit=True) as connection:
            for (name,) in connection.execute(
                "SELECT datname FROM pg_database WHERE starts_with(datname, %(prefix)s)",
                {"prefix": f"{_run()}_"},
            ).fetchall():
                _drop(connection, name)
    shutil.rmtree(run_dir, ignore_errors=True)
    del os.environ[RUN_DIR]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """In CI whatever is optional on a user's machine is demanded."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if skipped and os.environ.get("PARALLAX_CI") and item.get_closest_marker("optional"):
        report.outcome = "failed"
        report.longrepr = f"PARALLAX_CI demands what this test skipped for: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """A test that sets up logging, on a stream that ends with it, does so for itself alone."""
    before, handlers = structlog.get_config(), logging.root.handlers[:]
    yield
    structlog.configure(**before)
    logging.root.handlers[:] = handlers


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop of async tests and fixtures."""
    return "asyncio"


@pytest.fixture(scope="session")
def server() -> Iterator[Callable[[str], str]]:
    """A running PostgreSQL: the libpq URL of a database on it, by name."""
    if SERVER in os.environ:
        yield lambda name: _renamed(os.environ[SERVER], name)
    else:
        with embedded.start(Path(os.environ[RUN_DIR]), options=FAST) as running:
            yield running.place.url


@pytest.fixture(scope="session")
def maintenance(server) -> Iterator[psycopg.Connection]:
    """A connection for making and dropping databases; autocommit."""
    with psycopg.connect(os.environ.get(SERVER) or server("postgres"), autocommit=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def template(server, maintenance) -> str:
    """The name of a migrated database nobody connects to, made once for all processes."""
    name, raw = f"{_run()}_template", f"{_run()}_raw"
    with locks.exclusive(Path(os.environ[RUN_DIR], "template.lock"), seconds=60):
        known = maintenance.execute("SELECT FROM pg_database WHERE datname = %s", [name])
        if known.rowcount == 0:
            _drop(maintenance, raw)
            maintenance.execute(_named("CREATE DATABASE {}", raw))
            migrations.upgrade(server(raw))
            maintenance.execute(_named("ALTER DATABASE {} RENAME TO {}", raw, name))
    return name


@pytest.fixture(scope="session")
def databases_left() -> set[str]:
    """The databases of tests that have ended."""
    return set()


@pytest.fixture(scope="session")
def new_database(server, maintenance) -> Iterator[Callable[[], str]]:
    """Makes a database without a schema, dropped after all tests; what it returns is the URL."""
    made = []

    def make() -> str:
        made.append(f"{_run()}_{secrets.token_hex(4)}")
        maintenance.execute(_named("CREATE DATABASE {}", made[-1]))
        return server(made[-1])

    yield make
    for name in made:
        _drop(maintenance, name)


@pytest.fixture
def empty(new_database) -> str:
    """The URL of a database without a schema."""
    return new_database()


@pytest.fixture
def database(server, maintenance, template, databases_left) -> Iterator[str]:
    """The URL of a migrated database of this test's own.

    It is dropped after the next one: by then its sessions have ended too, for which a drop waits
    in steps of 100 ms.
    """
    name = f"{_run()}_{secrets.token_hex(4)}"
    clone = _named("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template)
    maintenance.execute(clone)
    yield server(name)
    while databases_left:
        _drop(maintenance, databases_left.pop())
    databases_left.add(name)


@pytest.fixture
async def connection(anyio_backend, database) -> AsyncIterator[psycopg.AsyncConnection]:
    """An open connection to `database`, in autocommit."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as opened:
        yield opened


@pytest.fixture
def outage(maintenance, database) -> Outage:
    """What may happen to `database`."""
    return Outage(maintenance, database)


def _run() -> str:
    return Path(os.environ[RUN_DIR]).name.replace("-", "_")


def _named(statement: str, *names: str) -> sql.Composed:
    return sql.SQL(statement).format(*map(sql.Identifier, names))


def _drop(connection: psycopg.Connection, name: str) -> None:
    connection.execute(_named("DROP DATABASE IF EXISTS {} WITH (FORCE)", name))


def _renamed(url: str, database: str) -> str:
    scheme, _, rest = url.partition("://")
    authority, _, tail = rest.partition("/")
    query = tail.partition("?")[2]
    return f"{scheme}://{authority}/{database}" + (f"?{query}" if query else "")
