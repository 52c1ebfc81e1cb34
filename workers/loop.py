"""The only loop: a role is one `step`, run again and again, whatever the database does."""

import asyncio
from typing import Protocol

import structlog

from orchestrator.patience import DATABASE_AWAY, backoff
from workers.signals import Signal

_log = structlog.get_logger()


class Role(Protocol):
    """One thing a worker does. `wake` is set by whoever has work for it."""

    name: str
    wake: Signal

    async def step(self) -> float:
        """Do one piece of work; the seconds until the next is due unless woken (0: at once)."""


async def run(role: Role, stopping: asyncio.Event) -> None:
    """Step until `stopping`; a step under way is never cut short."""
    failures = 0
    while not stopping.is_set():
        try:
            rest = await role.step()
        except DATABASE_AWAY as error:
            failures += 1
            _log.warning("role.waits_for_database", role=role.name, error=type(error).__name__)
            await asyncio.sleep(backoff(failures))
        except Exception:  # noqa: BLE001 - a role must outlive its worst step; it is logged whole
            failures += 1
            _log.exception("role.failed", role=role.name)
            await asyncio.sleep(backoff(failures))
        else:
            failures = 0
            if rest > 0 and not stopping.is_set():
                await role.wake.wait(rest)
