"""The database of one test goes away and comes back, as it looks to its clients; others do not."""

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

END = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = %s AND pid <> pg_backend_pid()
"""
READ_ONLY = """
ALTER DATABASE {} SET default_transaction_read_only = on
"""
WRITABLE = """
ALTER DATABASE {} RESET default_transaction_read_only
"""
SHUT = """
ALTER DATABASE {} WITH ALLOW_CONNECTIONS false
"""
OPEN = """
ALTER DATABASE {} WITH ALLOW_CONNECTIONS true
"""


class Outage:
    """What happens to the database at this URL, by way of a connection to another."""

    def __init__(self, maintenance: psycopg.Connection, url: str) -> None:
        self._maintenance = maintenance
        self._name = str(conninfo_to_dict(url)["dbname"])

    def end_sessions(self) -> None:
        """Every session ends; new ones may begin."""
        self._maintenance.execute(END, [self._name])

    def shut(self) -> None:
        """No session begins any more; those there are go on."""
        self._alter(SHUT)

    def go(self) -> None:
        """It is away."""
        self.shut()
        self.end_sessions()

    def come_back(self) -> None:
        """It is there again."""
        self._alter(OPEN)

    def only_read(self) -> None:
        """It takes no writes from now on, as a standby."""
        self._alter(READ_ONLY)
        self.end_sessions()

    def write_again(self) -> None:
        """It is the primary again."""
        self._alter(WRITABLE)

    def _alter(self, statement: str) -> None:
        self._maintenance.execute(sql.SQL(statement).format(sql.Identifier(self._name)))
