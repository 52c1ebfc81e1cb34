"""Listening for NOTIFY: a hint that saves up to a second of polling, never more than a hint."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
import structlog
from psycopg import sql

from orchestrator import poolers
from orchestrator.patience import DATABASE_AWAY, backoff

_log = structlog.get_logger()


async def listen(
    url: str, options: dict[str, Any], heard: Mapping[str, Callable[[str], None]]
) -> None:
    """Call a channel's function with the payload of each notification, until cancelled.

    Reconnects by itself; after each connect every function is called with '': something may have
    been missed. Ends at once where a pooler lets nothing through: then polling alone works.
    """
    failures = 0
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(url, **options)
            async with connection:
                if not await poolers.furnish(connection):
                    _log.info("listener.deaf", why="a pooler; PARALLAX_LISTEN_URL goes round it")
                    return
                for channel in heard:
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                failures = 0
                for hear in heard.values():
                    hear("")
                async for notification in connection.notifies():
                    heard[notification.channel](notification.payload)
        except DATABASE_AWAY as error:
            failures += 1
            _log.warning("listener.lost", error=type(error).__name__)
            await asyncio.sleep(backoff(failures))
