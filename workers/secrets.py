"""Webhook secrets as a worker opens them: remembered, and shown by nothing."""

from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from uuid import UUID

import structlog
from cachetools import LRUCache
from psycopg import AsyncConnection

from orchestrator.sealing import Sealer, UnsealableError
from orchestrator.store import webhook_secrets

REMEMBERED = 2_000
UNREADABLE = ""
"""Instead of a secret that none of our keys opens; no secret is empty."""
SecretsOf = Callable[[AsyncConnection, Collection[UUID]], Awaitable[dict[UUID, str]]]
_log = structlog.get_logger()


class Secrets:
    """Opens secrets; without a sealer none."""

    def __init__(self, sealer: Sealer | None) -> None:
        self._sealer = sealer
        self._opened: LRUCache[str, str] = LRUCache(REMEMBERED)

    def opened(self, sealed: str) -> str:
        """The secret, or `UNREADABLE`."""
        if sealed not in self._opened:
            self._opened[sealed] = self._open(sealed)
        return self._opened[sealed]

    async def of_tasks(
        self, connection: AsyncConnection, parents: Collection[UUID]
    ) -> dict[UUID, str]:
        """The newest secret of the key of each of these parents, where it has one."""
        newest = await webhook_secrets.newest_of(connection, parents)
        return {parent: self.opened(sealed) for parent, sealed in newest.items()}

    def _open(self, sealed: str) -> str:
        if self._sealer is not None:
            with suppress(UnsealableError):
                return self._sealer.open(sealed)
        _log.error("webhook.secret_unreadable", hint="PARALLAX_SECRET_KEY misses its key")
        return UNREADABLE
