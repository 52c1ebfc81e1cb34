import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admission.batches import Batcher, ClosedError

pytestmark = pytest.mark.anyio


class Flushes:
    """Records what is flushed; `hold` keeps a flush from ending until released."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.under_way = 0
        self.most = 0
        self.entered, self.released = asyncio.Event(), asyncio.Event()
        self.released.set()

    def hold(self) -> None:
        self.entered.clear()
        self.released.clear()

    async def __call__(self, items: list[int]) -> Sequence[int]:
        self.seen.append(items)
        self.under_way += 1
        self.entered.set()
        self.most = max(self.most, self.under_way)
        await self.released.wait()
        self.under_way -= 1
        if any(item < 0 for item in items):
            raise ValueError(items)
        return [item * 2 for item in items]


@asynccontextmanager
async def running(flush, *, largest=100, **given) -> AsyncIterator[Batcher[int, int]]:
    batcher: Batcher[int, int] = Batcher(flush, largest=largest, **given)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(batcher.run())
        yield batcher
        batcher.close()


@given(st.lists(st.integers(0, 99), max_size=50), st.integers(1, 9))
async def test_every_item_is_flushed_once_in_order(items, largest):
    """Each caller gets its own result; items keep their order and no flush is too large."""
    flush = Flushes()
    async with running(flush, largest=largest) as batcher:
        assert await asyncio.gather(*map(batcher.put, items)) == [item * 2 for item in items]
    assert [item for batch in flush.seen for item in batch] == items
    assert all(len(batch) <= largest for batch in flush.seen)


async def test_one_flush_at_a_time_and_the_next_gathers_meanwhile():
    """What comes during a flush waits for it and then goes together."""
    flush = Flushes()
    async with running(flush) as batcher:
        flush.hold()
        first = batcher.put(1)
        await flush.entered.wait()
        others = [batcher.put(2), batcher.put(3)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert flush.seen == [[1]]
        assert len(batcher) == 2
        flush.released.set()
        assert await asyncio.gather(first, *others) == [2, 4, 6]
    assert flush.seen == [[1], [2, 3]]
    assert flush.most == 1


async def test_a_failed_flush_reaches_its_callers_and_only_them():
    """Each caller of the flush gets its exception; the next flush is served."""
    flush = Flushes()
    async with running(flush, largest=2) as batcher:
        results = await asyncio.gather(*map(batcher.put, [1, -1, 2, 3]), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError, int, int]
    assert results[2:] == [4, 6]


async def test_closing_flushes_what_was_put():
    """Everything put before `close` is done when `run` returns."""
    flush = Flushes()
    batcher: Batcher[int, int] = Batcher(flush, largest=2)
    asked = [batcher.put(item) for item in (1, 2, 3)]
    batcher.close()
    await batcher.run()
    assert [future.result() for future in asked] == [2, 4, 6]
    assert len(batcher) == 0


async def test_nothing_is_taken_in_after_closing():
    """A caller who comes too late is told so at once, and does not wait for ever."""
    batcher: Batcher[int, int] = Batcher(Flushes(), largest=2)
    batcher.close()
    with pytest.raises(ClosedError):
        batcher.put(1)


async def test_closing_an_idle_batcher_lets_it_end():
    """A batcher that waits for items ends when closed."""
    batcher: Batcher[int, int] = Batcher(Flushes(), largest=2)
    task = asyncio.create_task(batcher.run())
    await asyncio.sleep(0)
    batcher.close()
    await task
    assert task.done()


async def test_a_caller_who_left_disturbs_nobody():
    """A future cancelled before or during its flush changes nothing for the others."""
    flush = Flushes()
    async with running(flush) as batcher:
        early, other = batcher.put(1), batcher.put(2)
        early.cancel()
        assert await other == 4
        flush.hold()
        late, last = batcher.put(3), batcher.put(4)
        await flush.entered.wait()
        late.cancel()
        flush.released.set()
        assert await last == 8
        failing, gone = batcher.put(-1), batcher.put(5)
        gone.cancel()
        with pytest.raises(ValueError, match="-1"):
            await failing


@given(st.lists(st.integers(1, 9), max_size=50), st.integers(3, 9))
async def test_a_flush_holds_as_much_as_its_items_are_large(items, largest):
    """Sizes in a flush add up to the largest at most, or it is one item; none is left out."""
    flush = Flushes()
    async with running(flush, largest=largest, size=lambda item: item) as batcher:
        futures = [batcher.put(item) for item in items]
        assert await asyncio.gather(*futures) == [item * 2 for item in items]
    assert [item for batch in flush.seen for item in batch] == items
    assert all(sum(batch) <= largest or len(batch) == 1 for batch in flush.seen)
    joined = zip(flush.seen, flush.seen[1:], strict=False)
    assert all(sum(batch) + later[0] > largest for batch, later in joined)
