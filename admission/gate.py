"""The one door: nothing holds a place that did not come through here."""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import Generic, Protocol, TypeVar

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from admission import reservations, usage
from admission.batches import Batcher
from admission.budget import Short
from admission.deciding import Answer, Ask, Deciding, Item, Known, Stored
from admission.demand import Demand
from admission.pace import Pace
from admission.places import Places
from admission.policy import Usage, headroom
from admission.refusals import Refusal

Entry = TypeVar("Entry")
Kept_contra = TypeVar("Kept_contra", contravariant=True)
Prior = TypeVar("Prior")
Resumes = Callable[[AsyncConnection, Collection[int]], Awaitable[Mapping[int, float]]]
LARGEST_FLUSH = 1000
"""Entries of one transaction."""


class Record(Protocol[Kept_contra, Prior]):
    """Where entries are kept. Called in the transaction that decides; it must not commit."""

    async def recall(
        self, connection: AsyncConnection, entries: Sequence[Kept_contra]
    ) -> Sequence[Known[Prior] | None]:
        """The earlier entry of each of these, all of which have an idempotency key."""

    def again(self, stored: Kept_contra, entry: Kept_contra) -> Known[Prior]:
        """What an entry of this very transaction is to a later one of its idempotency key."""

    async def store(self, connection: AsyncConnection, entries: Sequence[Kept_contra]) -> None:
        """Keep the admitted entries."""

    async def join(
        self, connection: AsyncConnection, waiting: Sequence[tuple[Kept_contra, Prior]]
    ) -> None:
        """Have the callers of these entries wait for the earlier ones."""

    async def resumes(
        self, connection: AsyncConnection, keys: Collection[int]
    ) -> Mapping[int, float]:
        """Of these keys, those most of whose queue cannot move, and in how many seconds it may."""


class Gate(Generic[Entry, Prior]):
    """Admits entries, many callers to a transaction.

    The transaction is durable before any caller hears of it. `pace` says how long sync callers
    wait. `run` must be running.
    """

    def __init__(
        self, pool: AsyncConnectionPool, record: Record[Entry, Prior], *, pace: Pace
    ) -> None:
        self._pool = pool
        self._record = record
        self._pace = pace
        self._batcher: Batcher[Ask[Entry], Answer[Prior]] = Batcher(
            self._flush, largest=LARGEST_FLUSH, size=_entries
        )

    async def ask(self, asked: Ask[Entry]) -> Answer[Prior]:
        """Decide these in one transaction; what is a yes is stored when this returns."""
        return await self._batcher.put(asked)

    async def run(self) -> None:
        """Serve until closed."""
        await self._batcher.run()

    def close(self) -> None:
        """Decide what was asked so far, then let `run` return."""
        self._batcher.close()

    async def _flush(self, asked: list[Ask[Entry]]) -> list[Answer[Prior]]:
        items = [item for ask in asked for item in ask.items]
        async with (
            self._pool.connection() as connection,
            connection.pipeline(),  # two round trips in all: BEGIN and the locks, the rest
            connection.transaction(),
        ):
            locked = await usage.lock(connection, {ask.items[0].demand.key_id for ask in asked})
            known = iter(await self._recall(connection, items))
            tight = _tight(locked, items)
            resumes = await self._record.resumes(connection, tight) if tight else {}
            places = Places(self._known(locked, resumes))
            deciding = Deciding[Entry, Prior](places, self._record.again)
            answers = [deciding.answer(ask, [*islice(known, len(ask.items))]) for ask in asked]
            if deciding.stored:
                await self._record.store(connection, deciding.stored)
            if deciding.joined:
                await self._record.join(connection, deciding.joined)
            flushed = bool(deciding.stored or deciding.joined)
            await _remember(connection, places, flushed=flushed)
        return answers

    def _known(self, locked: Mapping[int, Usage], resumes: Mapping[int, float]) -> dict[int, Usage]:
        """What the keys have taken, and how soon more comes free."""
        return {
            key: now._replace(
                sync_per_second=self._pace.per_second(key, now.sync_limit),
                resumes_in=resumes.get(key),
            )
            for key, now in locked.items()
        }

    async def _recall(
        self, connection: AsyncConnection, items: Sequence[Item[Entry]]
    ) -> list[Known[Prior] | None]:
        """The earlier entry of each of these that has one."""
        named = [n for n, item in enumerate(items) if item.demand.idempotency_key is not None]
        known: list[Known[Prior] | None] = [None] * len(items)
        if named:
            found = await self._record.recall(connection, [items[n].entry for n in named])
            for n, one in zip(named, found, strict=True):
                known[n] = one
        return known


async def enter(
    connection: AsyncConnection, demand: Demand, resumes: Resumes
) -> Stored | Short | Refusal:
    """Take the places of a demand without callers in the caller's transaction, which is durable.

    The caller stores what holds them. A refusal is remembered too, so commit it. `resumes` says
    when a queue moves again that cannot move (see `Record`).
    """
    key = demand.key_id
    locked = await usage.lock(connection, [key])
    if demand.places > headroom(locked[key]):
        found = await resumes(connection, [key])
        locked[key] = locked[key]._replace(resumes_in=found.get(key))
    places = Places(locked)
    if short := places.short(demand):
        return short
    refusal = places.take(demand)
    await _remember(connection, places, flushed=True)
    return refusal or Stored()


async def _remember(connection: AsyncConnection, places: Places, *, flushed: bool) -> None:
    if drawn := places.drawn():
        await reservations.draw(connection, drawn)
    if promised := places.promised():
        await usage.promise(connection, promised, flushed=flushed)


def _tight(locked: Mapping[int, Usage], items: Sequence[Item[Entry]]) -> list[int]:
    """The keys that may not have room for all of these."""
    wanted: Counter[int] = Counter()
    for item in items:
        wanted[item.demand.key_id] += item.demand.places
    return [key for key, n in wanted.items() if key in locked and n > headroom(locked[key])]


def _entries(ask: Ask[Entry]) -> int:
    return len(ask.items)
