"""One flush at a time; what comes meanwhile is the next. No timer: an idle one flushes at once."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class ClosedError(Exception):
    """Nothing is taken in any more: this process is shutting down."""


class Batcher(Generic[Item, Result]):
    """Gathers items into flushes of at most `largest`, counted by `size`; a larger one goes alone.

    `flush` gets the items in order and returns one result for each, or the exception its caller
    gets; if it raises, each waiting caller of that flush gets that. `run` must be running, in a
    task group of the caller.
    """

    def __init__(
        self,
        flush: Callable[[list[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        largest: int,
        size: Callable[[Item], int] = lambda _: 1,
    ) -> None:
        self._flush = flush
        self._largest = largest
        self._size = size
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._filled = asyncio.Event()
        self._closing = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: Item) -> asyncio.Future[Result]:
        """Queue an item; the future is done when its flush is. `ClosedError` after `close`."""
        if self._closing:
            raise ClosedError
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._filled.set()
        return future

    def close(self) -> None:
        """Let `run` return once everything put so far is flushed."""
        self._closing = True
        self._filled.set()

    async def run(self) -> None:
        """Flush until closed."""
        while self._waiting or not self._closing:
            if not self._waiting:
                self._filled.clear()
                await self._filled.wait()
                continue
            await self._flush_one(self._next())

    def _next(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        batch = [self._waiting.popleft()]
        room = self._largest - self._size(batch[0][0])
        while self._waiting and (size := self._size(self._waiting[0][0])) <= room:
            batch.append(self._waiting.popleft())
            room -= size
        return batch

    async def _flush_one(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._flush([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - it is raised again, at each caller
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
