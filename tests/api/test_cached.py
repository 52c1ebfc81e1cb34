"""What an API process remembers for a moment."""

import anyio
import anyio.lowlevel
import pytest

from orchestrator.api.cached import Cached

pytestmark = pytest.mark.anyio


class Source:
    """A slow source that counts how often it is asked."""

    def __init__(self, value):
        self.value = value
        self.asked = 0

    async def load(self):
        self.asked += 1
        await anyio.lowlevel.checkpoint()
        return self.value


async def test_many_callers_of_an_absent_value_load_it_once():
    """A crowd on an empty cache is one round trip."""
    cached, source, got = Cached(seconds=60, largest=9), Source("v"), []

    async def caller():
        got.append(await cached.get("k", source.load))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(caller)
    assert (got, source.asked) == (["v"] * 50, 1)


async def test_what_is_not_there_is_asked_for_every_time():
    """None is no answer to remember."""
    cached, source = Cached(seconds=60, largest=9), Source(None)
    assert [await cached.get("k", source.load) for _ in range(3)] == [None] * 3
    assert source.asked == 3


async def test_an_old_value_is_loaded_anew():
    """After its seconds a value counts no more."""
    cached, source = Cached(seconds=0, largest=9), Source("v")
    for _ in range(3):
        assert await cached.get("k", source.load) == "v"
    assert source.asked == 3
    assert cached.peek("k") is None


async def test_the_cache_never_grows_past_its_size():
    """A thousand keys leave at most `largest` values behind."""
    cached, source = Cached(seconds=60, largest=10), Source("v")
    for key in range(1000):
        await cached.get(key, source.load)
    assert sum(cached.peek(key) is not None for key in range(1000)) <= 10


async def test_a_loader_that_fails_leaves_the_next_caller_to_try():
    """A failure is raised where it happened and remembered nowhere."""
    cached = Cached(seconds=60, largest=9)

    async def fail():
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await cached.get("k", fail)
    assert await cached.get("k", Source("v").load) == "v"


async def test_those_who_wait_for_a_load_that_fails_fail_with_it(anyio_backend):
    """A crowd is not held for one time-out after the other; whoever comes later tries anew."""
    cached, source, failed = Cached(seconds=60, largest=9), Source("v"), []

    async def fail():
        await source.load()
        raise OSError("away")

    async def caller():
        try:
            await cached.get("k", fail)
        except OSError as error:
            failed.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(caller)
    assert (len(failed), source.asked) == (50, 1)
    assert await cached.get("k", source.load) == "v"
