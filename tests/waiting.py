"""Waiting for what other tasks, processes or database sessions do."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Seen = TypeVar("Seen")
PATIENCE_SECONDS = 20.0
LOOK_SECONDS = 0.01


async def eventually(
    look: Callable[[], Awaitable[Seen]], *, seconds: float = PATIENCE_SECONDS
) -> Seen:
    """What `look` returns once it is truthy; fails when it never is within these seconds."""
    async with asyncio.timeout(seconds):
        while not (seen := await look()):  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(LOOK_SECONDS)
    return seen
