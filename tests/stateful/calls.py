"""Sync calls under way over HTTP, and the rows by which the database knows their callers."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple
from uuid import UUID

import httpx

from admission.keys import Key
from orchestrator.domain import ids
from tests.stateful import wire
from tests.stateful.records import CallerRow

LONG_WAIT = "wait=300"
ANSWERED_SECONDS = 30


class Like(NamedTuple):
    """What is seen of a call in its row: calls that are alike may have each other's."""

    key: int
    node: int
    name: str | None
    payload: str


class Call(NamedTuple):
    task: asyncio.Task[httpx.Response]
    key: Key
    like: Like


class Calls:
    """All calls under way and, once `match` said yes, the row of each."""

    def __init__(self) -> None:
        self.under_way: list[Call] = []
        self._rows: dict[int, Call] = {}
        self._parents: dict[Like, UUID] = {}
        self._new: Counter[UUID] = Counter()

    def callers(self) -> dict[int, CallerRow]:
        """Who waits, by the last match."""
        return {
            caller: CallerRow(call.like.key, self._parents[call.like], call.like.node)
            for caller, call in self._rows.items()
        }

    def row_of(self, call: Call) -> tuple[int, UUID] | None:
        """The caller and the parent of a call; None: it had none at the last match."""
        own = (caller for caller, one in self._rows.items() if one is call)
        caller = next(own, None)
        return None if caller is None else (caller, self._parents[call.like])

    async def drop(self, callers: Iterable[int] | None = None) -> None:
        """They, or all, hang up."""
        calls = (
            [self._rows[caller] for caller in callers] if callers is not None else self.under_way
        )
        self.under_way = [call for call in self.under_way if call not in calls]
        for call in calls:
            call.task.cancel()
        await asyncio.gather(*(call.task for call in calls), return_exceptions=True)

    async def broken(self, node: int) -> None:
        """Those a node holds, which is no more, hear of it."""
        tasks = [call.task for call in self.under_way if call.like.node == node]
        self.under_way = [call for call in self.under_way if call.like.node != node]
        async with asyncio.timeout(ANSWERED_SECONDS):
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert [end for end in ends if not isinstance(end, httpx.TransportError)] == []

    def match(self, rows: Iterable[tuple[Any, ...]]) -> bool:
        """Whether each call has a row (caller, parent, like) of its own, and no row is nobody's."""
        alike: defaultdict[Like, list[int]] = defaultdict(list)
        for caller, parent, *like in rows:
            alike[Like(*like)].append(caller)
            self._parents[Like(*like)] = parent
        calls = [call for call in self.under_way if not call.task.done()]
        if Counter(call.like for call in calls) != {like: len(own) for like, own in alike.items()}:
            return False
        self._rows = {
            caller: call
            for caller, call in self._rows.items()
            if call in calls and caller in alike[call.like]
        }
        for caller, call in self._rows.items():
            alike[call.like].remove(caller)
            calls.remove(call)
        self._rows |= {alike[call.like].pop(): call for call in calls}
        return True

    def over(self, ended: Iterable[UUID]) -> list[Call]:
        """Those that have their answer or will, now that these parents ended; they are off."""
        ends = set(ended)
        over = [
            call
            for call in self.under_way
            if call.task.done() or self._parents.get(call.like) in ends
        ]
        self.off(over)
        return over

    def off(self, calls: Iterable[Call]) -> None:
        """These have their answers."""
        gone = list(calls)
        self.under_way = [call for call in self.under_way if call not in gone]

    def counted(self, answer: httpx.Response) -> httpx.Response:
        """Remember whether it tells of a parent for the first time."""
        if answer.status_code in {200, 202, 504} and not wire.replayed(answer):
            self._new[wire.parent(answer)] += 1
        return answer

    def judge_all(self) -> None:
        """Nobody waits any more, and each parent came of one call."""
        assert self.under_way == []
        assert set(self._new.values()) <= {1}

    async def judge(self, call: Call, read: Callable[[Key, str], Awaitable[Any]]) -> None:
        """200, with what a read of the job says now."""
        async with asyncio.timeout(ANSWERED_SECONDS):
            answer = self.counted(await call.task)
        assert answer.status_code == 200, answer.text
        parent = wire.parent(answer)
        assert parent == self._parents[call.like]
        assert answer.headers["Preference-Applied"] == LONG_WAIT
        said, job = answer.json(), ids.text(parent)
        if "children" in said:
            shown = await read(call.key, job)
            assert said["job"] == shown["job"]
            found = [child["job"]["id"] for child in said["children"]]
            assert found == [child["id"] for child in shown["children"]]
        else:
            assert said["job"]["id"].startswith(f"{job}.")
            assert said == await read(call.key, said["job"]["id"])
