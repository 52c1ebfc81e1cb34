"""How long to wait before something that failed is tried again."""

import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests

from orchestrator.errors import DatabaseUnavailableError

LONGEST_PAUSE_SECONDS = 5.0
DATABASE_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    PoolTimeout,
    TooManyRequests,
    DatabaseUnavailableError,
)
"""What is raised while the database is away; everything else is a fault."""


def backoff(failures: int) -> float:
    """Seconds to pause after this many failures in a row: 0.1, 0.2, 0.4 … 5."""
    return min(LONGEST_PAUSE_SECONDS, 0.05 * 2.0 ** min(failures, 10))
