"""One looks for all who watch: while somebody does, and telling each what they have not seen."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise

import psycopg
import pytest

from orchestrator.watching import LOOK_SECONDS, News, Watching
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

LONG = 20.0


class World:
    """What can be looked at: a number by name; it may be away, and a look may be held up."""

    def __init__(self) -> None:
        self.now: dict[str, int] = {}
        self.looks = 0
        self.away = False
        self.looked_at: list[Mapping[str, Collection[Hashable]]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def look(
        self,
        seen: Mapping[str, Collection[Hashable]],
        tell: Callable[[str, News[str]], None],
    ) -> None:
        self.looks += 1
        self.looked_at.append(seen)
        if self.away:
            raise psycopg.OperationalError
        found = dict(self.now)
        await self.open.wait()
        for topic, had in seen.items():
            if set(had) != {found.get(topic)}:
                tell(topic, News(found.get(topic), f"{topic} {found.get(topic)}"))


@asynccontextmanager
async def running(world: World) -> AsyncIterator[Watching[str, str]]:
    watching: Watching[str, str] = Watching(world.look)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watching.run())
        try:
            yield watching
        finally:
            watching.close()


@pytest.fixture
def world() -> World:
    return World()


async def looked(world: World, times: int) -> bool:
    return world.looks >= times


async def test_nobody_looks_while_nobody_watches(world):
    """The first look is for the first who watches; after the last has gone there is no other."""
    async with running(world) as watching:
        await asyncio.sleep(0)
        assert world.looks == 0
        world.now["a"] = 1
        with watching.watch("a", None) as watch:
            assert await watch.news(LONG) == News(1, "a 1")
        with watching.watch("b", None):
            await eventually(lambda: looked(world, 2))
        assert all(seen for seen in world.looked_at)


async def test_everybody_is_told_what_they_have_not_seen(world):
    """Who has seen the present version is told nothing; all others are, by the same look."""
    world.now["a"] = 2
    async with running(world) as watching:
        with watching.watch("a", 1) as old, watching.watch("a", 2) as new:
            assert await old.news(LONG) == News(2, "a 2")
            world.now["a"] = 3
            assert await new.news(LONG) == News(3, "a 3")
            assert await old.news(LONG) == News(3, "a 3")
            assert world.looked_at[0] == {"a": {1, 2}}


async def test_what_was_not_heard_is_replaced(world):
    """Who is slow hears the newest, and nothing of what was between."""
    async with running(world) as watching:
        with watching.watch("a", 0) as watch:
            for now in (1, 2, 3):
                world.now["a"] = now

                async def told(now: int = now) -> bool:
                    return watch.version == now

                await eventually(told)
            assert await watch.news(LONG) == News(3, "a 3")
            assert await watch.news(0) is None


async def test_a_look_that_began_before_somebody_watched_is_not_for_them(world):
    """It may be older than what they have seen: nobody is taken back in time."""
    world.now["a"] = 1
    world.open.clear()
    async with running(world) as watching:
        with watching.watch("a", 0) as early:
            await eventually(lambda: looked(world, 1))
            world.now["a"] = 2
            with watching.watch("a", 2) as late:
                world.open.set()
                assert await early.news(LONG) == News(1, "a 1")
                assert await early.news(LONG) == News(2, "a 2")
                assert await late.news(0) is None


async def test_what_is_gone_is_told_too(world):
    """It has no version and no looks."""
    world.now["a"] = 1
    async with running(world) as watching:
        with watching.watch("a", 1) as watch:
            del world.now["a"]
            news = await watch.news(LONG)
            assert news is not None
            assert news.version is None


async def test_looking_goes_on_after_the_database_was_away(world):
    """Watches stay, and are told of what happened meanwhile."""
    world.away = True
    async with running(world) as watching:
        with watching.watch("a", 0) as watch:
            await eventually(lambda: looked(world, 2))
            world.now["a"] = 1
            world.away = False
            assert await watch.news(LONG) == News(1, "a 1")


async def test_after_a_release_nothing_is_told(world):
    """Watches are over at once, those to come from their beginning."""
    world.now["a"] = 0
    async with running(world) as watching:
        with watching.watch("a", 0) as watch:
            waiting = asyncio.create_task(watch.news(LONG))
            await asyncio.sleep(0)
            watching.release()
            assert await waiting is None
            assert watch.over
        with watching.watch("a", 0) as later:
            assert await later.news(LONG) is None
            assert later.over
        assert len(watching) == 0


async def test_nobody_is_told_more_than_four_times_a_second(world):
    """However fast things change, a look begins a quarter of a second after the one before."""
    clock, began = asyncio.get_running_loop().time, []

    class Busy(World):
        async def look(self, seen, tell):
            began.append(clock())
            self.now["a"] = self.looks
            await super().look(seen, tell)

    async with running(Busy()) as watching:
        with watching.watch("a", None) as watch:
            for _ in range(4):
                assert await watch.news(LONG)
    assert len(began) == 4
    for first, second in pairwise(began):
        assert second - first >= LOOK_SECONDS - time.get_clock_info("monotonic").resolution
