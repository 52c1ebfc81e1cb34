"""Values that may be a moment old, so that the hot path pays no round trip for them."""

import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import anyio

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Loading:
    """The callers of one absent value, and how the last try to load it went wrong."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.failures = 0
        self.error: Exception | None = None


class Cached(Generic[K, V]):
    """Keeps about `largest` values for `seconds`; of many callers of an absent one, one loads it.

    What that one's `load` raises all get who waited for it: trying again for each of them, one
    after the other, would hold them for as many time-outs. None is never kept: what is not there
    now may be there at once. When it is full it starts anew, which costs each key one load; that is
    cheaper than an order of use kept on every hit.
    """

    def __init__(self, *, seconds: float, largest: int) -> None:
        self._seconds = seconds
        self._largest = largest
        self._kept: dict[K, tuple[float, V]] = {}
        self._loading: WeakValueDictionary[K, _Loading] = WeakValueDictionary()

    def peek(self, key: K) -> V | None:
        """The value kept under the key, without waiting for one."""
        until, value = self._kept.get(key, (0.0, None))
        return value if until > time.monotonic() else None

    async def get(self, key: K, load: Callable[[], Awaitable[V | None]]) -> V | None:
        """The value kept under the key, or what `load` brings now."""
        if (value := self.peek(key)) is not None:
            return value
        loading = self._loading.setdefault(key, _Loading())
        failures = loading.failures
        async with loading.lock:
            if (value := self.peek(key)) is not None:
                return value
            if loading.error is not None and loading.failures > failures:
                raise loading.error.with_traceback(None)
            return await self._load(key, loading, load)

    async def _load(
        self, key: K, loading: _Loading, load: Callable[[], Awaitable[V | None]]
    ) -> V | None:
        try:
            value = await load()
        except Exception as error:
            loading.failures, loading.error = loading.failures + 1, error
            raise
        if value is not None:
            self._keep(key, value)
        return value

    def _keep(self, key: K, value: V) -> None:
        if len(self._kept) >= self._largest:
            self._kept.clear()
        self._kept[key] = (time.monotonic() + self._seconds, value)
