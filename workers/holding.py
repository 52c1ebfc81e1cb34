"""Holding what is to be recorded until the database takes it."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import structlog

from orchestrator.patience import DATABASE_AWAY, backoff

PASSING = (psycopg.Error, *DATABASE_AWAY)
"""What the database says passes: whatever it refuses now it may take later."""
_log = structlog.get_logger()


async def recorded(record: Callable[[], Awaitable[None]], *, what: str) -> None:
    """Try until it is recorded, with growing pauses; what is not the database's is raised."""
    failures = 0
    while True:
        try:
            await record()
        except PASSING as error:
            failures += 1
            _log.warning(f"{what}.waits_for_database", error=type(error).__name__)
            await asyncio.sleep(backoff(failures))
        else:
            return
