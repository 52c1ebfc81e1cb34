"""Watching: one who looks for all who watch.

The watcher of a process looks at everything that is watched there, four times a second, while
somebody watches, and not at all otherwise. Who watches is told of a version they have not seen;
what comes while they are busy replaces what they were not told yet, so that nobody's slowness
grows anything. States that pass between two looks are not seen.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

import structlog

from orchestrator.patience import DATABASE_AWAY, backoff

LOOK_SECONDS = 0.25
REST = 4
"""After a look comes a pause of this many times what it took: looking takes a fifth at most."""

Topic = TypeVar("Topic", bound=Hashable)
Body = TypeVar("Body")
_log = structlog.get_logger()


class News(NamedTuple, Generic[Body]):
    """A version of a topic and what it looks like; None when it is not there any more."""

    version: Hashable
    body: Body | None


class Watch(Generic[Body]):
    """One who watches a topic and has seen this version of it; `over` once nothing more is told."""

    __slots__ = ("_news", "_told", "over", "version")

    def __init__(self, version: Hashable) -> None:
        self.version = version
        self.over = False
        self._news: News[Body] | None = None
        self._told = asyncio.Event()

    def tell(self, news: News[Body]) -> None:
        """This is how it looks now; what was not heard yet is of the past."""
        self.version = news.version
        self._news = news
        self._told.set()

    def end(self) -> None:
        """Nothing more is told."""
        self.over = True
        self._told.set()

    async def news(self, seconds: float) -> News[Body] | None:
        """The newest version not seen yet; None when there was none for so long, or it is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._told.wait()
        except TimeoutError:
            return None
        if not self.over:
            self._told.clear()
        news, self._news = self._news, None
        return news


Look = Callable[
    [Mapping[Topic, Collection[Hashable]], Callable[[Topic, News[Body]], None]], Awaitable[None]
]
"""Look at these topics, of which these versions were seen, and tell of those that differ."""


class Watching(Generic[Topic, Body]):
    """Everybody in this process who watches topics of one kind. `run` must be running."""

    def __init__(self, look: Look[Topic, Body]) -> None:
        self._look = look
        self._watched: defaultdict[Topic, set[Watch[Body]]] = defaultdict(set)
        self._somebody = asyncio.Event()
        self._closing = asyncio.Event()
        self._released = False

    def __len__(self) -> int:
        return sum(map(len, self._watched.values()))

    @contextmanager
    def watch(self, topic: Topic, version: Hashable) -> Iterator[Watch[Body]]:
        """Watch a topic of which this version was seen; what differs from it now is told too.

        Only looks that begin later are told of, so that nobody is taken back in time.
        """
        watch: Watch[Body] = Watch(version)
        self._watched[topic].add(watch)
        self._somebody.set()
        if self._released:
            watch.end()
        try:
            yield watch
        finally:
            self._watched[topic].discard(watch)
            if not self._watched[topic]:
                del self._watched[topic]

    def release(self) -> None:
        """End every watch, those to come too: this process is leaving."""
        self._released = True
        for watches in self._watched.values():
            for watch in watches:
                watch.end()

    def close(self) -> None:
        """End every watch and let `run` return."""
        self.release()
        self._closing.set()

    async def run(self) -> None:
        """Look, as long as somebody watches, until closed."""
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(self._look_on())
            await self._closing.wait()
            looking.cancel()

    async def _look_on(self) -> None:
        clock, failures = asyncio.get_running_loop().time, 0
        while True:
            await self._somebody.wait()
            began = clock()
            try:
                await self._look_once()
                failures = 0
            except DATABASE_AWAY as error:
                failures += 1
                _log.warning("watching.unserved", error=type(error).__name__)
            pause = backoff(failures) if failures else REST * (clock() - began)
            await asyncio.sleep(max(LOOK_SECONDS, pause))
            if not self._watched:
                self._somebody.clear()

    async def _look_once(self) -> None:
        present = {topic: tuple(watches) for topic, watches in self._watched.items()}

        def tell(topic: Topic, news: News[Body]) -> None:
            for watch in present[topic]:
                if watch.version != news.version:
                    watch.tell(news)

        seen = {topic: {watch.version for watch in present[topic]} for topic in present}
        if seen:
            await self._look(seen, tell)
