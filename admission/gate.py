"""The one door: nothing holds a place that did not come through here."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from admission import usage
from admission.batches import Batcher
from admission.demand import Demand
from admission.pace import Pace
from admission.policy import Refused, Usage, decide
from admission.refusals import Refusal

Entry = TypeVar("Entry")
Kept_contra = TypeVar("Kept_contra", contravariant=True)
Prior = TypeVar("Prior")
LARGEST_FLUSH = 500


class Stored(NamedTuple):
    """The demand is admitted, and its entry stored, durably."""


class Known(NamedTuple, Generic[Prior]):
    """An earlier entry of the same idempotency key; `open` says that a caller may wait for it."""

    prior: Prior
    open: bool


class Repeated(NamedTuple, Generic[Prior]):
    """Nothing was stored: the earlier entry stands. `waits`: the caller has a sync place."""

    prior: Prior
    waits: bool


class Record(Protocol[Kept_contra, Prior]):
    """Where entries are kept. Called in the transaction that decides; it must not commit."""

    async def recall(
        self, connection: AsyncConnection, entries: Sequence[Kept_contra]
    ) -> Sequence[Known[Prior] | None]:
        """The earlier entry of each of these, all of which have an idempotency key."""

    async def store(self, connection: AsyncConnection, entries: Sequence[Kept_contra]) -> None:
        """Keep the admitted entries."""

    async def join(
        self, connection: AsyncConnection, waiting: Sequence[tuple[Kept_contra, Prior]]
    ) -> None:
        """Have the callers of these entries wait for the earlier ones."""


Decision = Stored | Repeated[Prior] | Refusal


class _Asked(NamedTuple, Generic[Entry]):
    demand: Demand
    entry: Entry


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
        self._batcher: Batcher[_Asked[Entry], Decision[Prior]] = Batcher(
            self._flush, largest=LARGEST_FLUSH
        )

    def admit(self, demand: Demand, entry: Entry) -> asyncio.Future[Decision[Prior]]:
        """Ask for the demand's places; awaiting gives the decision, stored when it is a yes."""
        return self._batcher.put(_Asked(demand, entry))

    async def run(self) -> None:
        """Serve `admit` until closed."""
        await self._batcher.run()

    def close(self) -> None:
        """Decide what was asked so far, then let `run` return."""
        self._batcher.close()

    async def _flush(self, asked: list[_Asked[Entry]]) -> list[Decision[Prior] | Exception]:
        """Decide all; those with the same idempotency key one after the other, each in a round.

        A round that fails takes none with it that is decided.
        """
        first, *later = _rounds(asked)
        answers: Sequence[Decision[Prior] | Exception]
        answers = await self._round([asked[place] for place in first])
        decided: dict[int, Decision[Prior] | Exception] = {}
        decided.update(zip(first, answers, strict=True))
        for places in later:
            try:
                answers = await self._round([asked[place] for place in places])
            except Exception as error:  # noqa: BLE001 - it is raised again, at each caller
                answers = [error] * len(places)
            decided.update(zip(places, answers, strict=True))
        return [decided[place] for place in range(len(asked))]

    async def _round(self, asked: list[_Asked[Entry]]) -> list[Stored | Repeated[Prior] | Refusal]:
        async with (
            self._pool.connection() as connection,
            connection.pipeline(),  # two round trips in all: BEGIN and the locks, the rest
            connection.transaction(),
        ):
            locked = await usage.lock(connection, (one.demand.key_id for one in asked))
            known = await self._recall(connection, asked)
            deciding = _Deciding[Entry, Prior](self._paced(locked))
            answers = [deciding.decide(one, known.get(place)) for place, one in enumerate(asked)]
            await self._keep(connection, deciding)
        return answers

    def _paced(self, locked: dict[int, Usage]) -> dict[int, Usage]:
        return {
            key: now._replace(sync_per_second=max(1, now.sync_limit) / self._pace.seconds(key))
            for key, now in locked.items()
        }

    async def _recall(
        self, connection: AsyncConnection, asked: list[_Asked[Entry]]
    ) -> dict[int, Known[Prior]]:
        """The earlier entry of each of these places that has one."""
        named = [n for n, one in enumerate(asked) if one.demand.idempotency_key is not None]
        if not named:
            return {}
        known = await self._record.recall(connection, [asked[place].entry for place in named])
        return {place: one for place, one in zip(named, known, strict=True) if one is not None}

    async def _keep(self, connection: AsyncConnection, decided: "_Deciding[Entry, Prior]") -> None:
        if decided.stored:
            await self._record.store(connection, decided.stored)
        if decided.joined:
            await self._record.join(connection, decided.joined)
        if decided.refused:
            promised = {key: decided.usages[key] for key in sorted(decided.refused)}
            flushed = bool(decided.stored or decided.joined)
            await usage.promise(connection, promised, flushed=flushed)


class _Deciding(Generic[Entry, Prior]):
    """One round's decisions: each meets what those before it took."""

    def __init__(self, usages: dict[int, Usage]) -> None:
        self.usages = usages
        self.stored: list[Entry] = []
        self.joined: list[tuple[Entry, Prior]] = []
        self.refused: set[int] = set()

    def decide(self, one: _Asked[Entry], known: Known[Prior] | None) -> Decision[Prior]:
        demand = one.demand
        if known is not None:
            return self._repeat(one, known)
        decision = decide(demand, self.usages[demand.key_id], chance=random.random())  # noqa: S311 - spread
        self.usages[demand.key_id] = decision.usage
        if isinstance(decision, Refused):
            self.refused.add(demand.key_id)
            return decision.refusal
        self.stored.append(one.entry)
        return Stored()

    def _repeat(self, one: _Asked[Entry], known: Known[Prior]) -> Repeated[Prior]:
        """A replay takes no place; it may wait if a sync place is free."""
        if not known.open or not one.demand.callers:
            return Repeated(known.prior, waits=False)
        key = one.demand.key_id
        decision = decide(one.demand._replace(places=0), self.usages[key])
        if isinstance(decision, Refused):
            return Repeated(known.prior, waits=False)
        self.usages[key] = decision.usage
        self.joined.append((one.entry, known.prior))
        return Repeated(known.prior, waits=True)


def _rounds(asked: Sequence[_Asked[Entry]]) -> Iterator[list[int]]:
    """Places in which no key has an idempotency key twice: nearly always all in one round."""
    left = list(range(len(asked)))
    while left:
        seen: set[tuple[int, str]] = set()
        now: list[int] = []
        later: list[int] = []
        for place in left:
            demand = asked[place].demand
            if demand.idempotency_key is None:
                now.append(place)
                continue
            name = (demand.key_id, demand.idempotency_key)
            (later if name in seen else now).append(place)
            seen.add(name)
        yield now
        left = later
