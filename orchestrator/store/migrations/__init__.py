"""The schema's history (Alembic), applied at every start under an advisory lock.

All pending revisions run in one transaction: a start that fails leaves the schema as it was, and
two starts at once apply each revision once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from orchestrator.errors import DatabaseUnavailableError

LOCK = 7_201_001
"""The advisory lock of migrations; claim and fan-out have their own."""
_SESSION: dict[str, Any] = {
    "prepare_threshold": None,  # there may be a pooler
    "connect_timeout": 5,  # seconds; the default is for ever
    "target_session_attrs": "read-write",  # of several servers the one that is no standby
}


def upgrade(url: str) -> list[str]:
    """Apply every pending revision to the database at this libpq URL; returns those applied."""
    with _connected(url) as connection:
        applied = _pending(connection)
        if applied:
            command.upgrade(_config(connection), "head")
        return applied


def pending(url: str) -> list[str]:
    """The revisions `upgrade` would apply, oldest first, each as `revision: title`."""
    with _connected(url) as connection:
        return _pending(connection)


def _pending(connection: Connection) -> list[str]:
    done = MigrationContext.configure(connection).get_current_heads()
    scripts = ScriptDirectory.from_config(_config(connection))
    waiting = scripts.iterate_revisions("heads", done or "base")
    return [f"{script.revision}: {script.doc}" for script in reversed(list(waiting))]


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(url, **_SESSION),
        poolclass=NullPool,
    )
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            yield connection
    except OperationalError as error:
        reason = str(error.orig).partition("\n")[0]
        raise DatabaseUnavailableError(f"PostgreSQL cannot be reached: {reason}") from None
    finally:
        engine.dispose()
