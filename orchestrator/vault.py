"""The vault: the sealer of a database, read once it is needed and remembered."""

import time

import structlog
from psycopg_pool import AsyncConnectionPool

from orchestrator.errors import ConfigError
from orchestrator.sealing import Sealer
from orchestrator.store import data_keys

AGAIN_SECONDS = 10.0
_log = structlog.get_logger()


class Vault:
    """What a process seals with; `keys` are those of `PARALLAX_SECRET_KEY`."""

    def __init__(self, pool: AsyncConnectionPool, keys: str | None) -> None:
        self._pool = pool
        self._keys = keys
        self._sealer: Sealer | None = None
        self._again_at = 0.0

    async def sealer(self) -> Sealer | None:
        """None without keys, and while those there are open nothing in this database."""
        if self._sealer is None and self._keys and time.monotonic() >= self._again_at:
            async with self._pool.connection() as connection:
                try:
                    self._sealer = await data_keys.sealer(connection, self._keys)
                except ConfigError as error:
                    self._again_at = time.monotonic() + AGAIN_SECONDS
                    _log.error("vault.closed", hint=str(error))
        return self._sealer
