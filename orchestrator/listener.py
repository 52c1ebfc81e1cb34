"""Listening for NOTIFY: a hint that saves up to a second of polling, never more than a hint."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
import structlog
from psycopg import sql

from orchestrator.patience import backoff

_log = structlog.get_logger()


async def listen(
    url: str, options: dict[str, Any], heard: Mapping[str, Callable[[str], None]]
) -> None:
    """Call a channel's function with the payload of each notification, until cancelled.

    Reconnects by itself; after each connect every function is called with '': something may have
    been missed.
    """
    failures = 0
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(url, **options)
            async with connection:
                for channel in heard:
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                failures = 0
                for hear in heard.values():
                    hear("")
                async for notification in connection.notifies():
                    heard[notification.channel](notification.payload)
        except psycopg.OperationalError as error:
            failures += 1
            _log.warning("listener.lost", error=type(error).__name__)
            await asyncio.sleep(backoff(failures))
