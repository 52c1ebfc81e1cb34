"""Listening for NOTIFY: a hint that saves up to a second of polling, never more than a hint."""

import asyncio
from collections.abc import Mapping
from typing import Any

import psycopg
import structlog
from psycopg import sql

from workers.loop import backoff
from workers.signals import Signal

_log = structlog.get_logger()


async def listen(url: str, options: dict[str, Any], channels: Mapping[str, Signal]) -> None:
    """Set a channel's signal at each notification, until cancelled; reconnects by itself.

    After each connect every signal is set: something may have been missed.
    """
    failures = 0
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(url, **options)
            async with connection:
                for channel in channels:
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                failures = 0
                for signal in channels.values():
                    signal.set()
                async for notification in connection.notifies():
                    channels[notification.channel].set()
        except psycopg.OperationalError as error:
            failures += 1
            _log.warning("listener.lost", error=type(error).__name__)
            await asyncio.sleep(backoff(failures))
