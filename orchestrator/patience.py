"""How long to wait before something that failed is tried again."""

import psycopg
from psycopg import errors

from orchestrator.errors import DatabaseUnavailableError

LONGEST_PAUSE_SECONDS = 5.0
DATABASE_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,  # of a connection that is closed already
    errors.ReadOnlySqlTransaction,  # demoted, or told to protect a full disk
    errors.IdleInTransactionSessionTimeout,  # it ended the session
    errors.TransactionTimeout,
    DatabaseUnavailableError,
)
"""What is raised while the database is away or takes no more; everything else is a fault.

An `OperationalError` is what the server says when it cannot rather than will not: unreachable,
starting or stopping (57P), out of connections, memory or disk (53), a lock or a statement that took
too long, a deadlock or a conflict (40), and all that the pool raises.
"""


def backoff(failures: int) -> float:
    """Seconds to pause after this many failures in a row: 0.1, 0.2, 0.4 … 5."""
    return min(LONGEST_PAUSE_SECONDS, 0.05 * 2.0 ** min(failures, 10))
