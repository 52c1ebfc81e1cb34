"""A signal between the parts of a worker: remembered until somebody waits for it."""

import asyncio


class Signal:
    """Set by whoever has news; the one who waits hears it once, however often it was set."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """There is news."""
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Return when there is news, or after this long."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()
