"""Clients for `test_torture`: random mixes of the store's functions, until somebody kills them.

`python -m tests.stateful.torture URL` forks a client for each `start SEED` on stdin and kills one
with `kill PID`, answering each line; at the end of stdin all are killed. Clients tell what they
were answered on file descriptor 1, a line each, as JSON.
"""

import asyncio
import os
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable

from psycopg_pool import AsyncConnectionPool

from admission import keys
from orchestrator import db
from orchestrator.fanout import fan_out
from orchestrator.store import children, nodes, surfaces
from orchestrator.store.children import Completed, Fence
from orchestrator.store.nodes import NewNode
from tests.stateful.callers import tell
from tests.stateful.operators import Operators

LONGEST_LIFE_SECONDS = 600
BURY_THE_LIVING = """
UPDATE node SET heartbeat_at = now() - interval '11 seconds'
WHERE id = (SELECT id FROM node ORDER BY random() LIMIT 1)
"""


class Client(Operators):
    """An API process and a worker in one, without scruples."""

    def __init__(self, pool: AsyncConnectionPool, seed: int) -> None:
        super().__init__(pool, seed)
        self._node = 0
        self._held: list[Fence] = []
        self._new = NewNode("torture", os.getpid(), 20, ())

    async def _arrive(self) -> None:
        async with self._pool.connection() as connection:
            self._keys = list(await keys.all_keys(connection))
            known = await surfaces.all_surfaces(connection)
            self._surfaces = {surface.name: surface for surface in known}
            self._new = self._new._replace(surfaces=tuple(self._surfaces))
            self._api = await nodes.register(connection, self._new._replace(kind="api"))
            self._node = await nodes.register(connection, self._new)

    async def live(self) -> None:
        while not self._node:
            await self._attempt(self._arrive)
        door = asyncio.create_task(self._submitter.run())
        deeds, weights = zip(*self._deeds(), strict=True)
        end = time.monotonic() + LONGEST_LIFE_SECONDS
        while time.monotonic() < end and not door.done():
            (deed,) = self._random.choices(deeds, weights)
            await self._attempt(deed)

    def _deeds(self) -> list[tuple[Callable[[], Awaitable[None]], int]]:
        return [
            (self._submit, 10),
            (self._leave, 6),
            (self._sweep, 1),
            (self._forget_dead, 3),
            (self._fan_out, 8),
            (self._claim, 14),
            (self._settle, 22),
            (self._stage, 6),
            (self._rescue, 4),
            (self._judge, 1),
            (self._look, 3),
            (self._change_lanes, 1),
            (self._operate, 4),
            (self._strike, 3),
            (self._spare, 3),
            (self._cancel, 6),
            (self._clear, 1),
            (self._retry, 6),
            (self._erase, 2),
            (self._prune, 1),
            (self._ask_of_group, 1),
            (self._act, 4),
            (self._expire, 3),
            (self._release, 3),
        ]

    async def _fan_out(self) -> None:
        async with self._pool.connection() as connection:
            await fan_out(connection, parents=self._random.choice([5, 50]))

    async def _claim(self) -> None:
        await self._claimed(self._random.choice([1, 5, 20, 60]))

    async def _claimed(self, slots: int) -> list[Fence]:
        token = secrets.randbits(62)
        named = {"node": self._node, "token": token, "surfaces": self._new.surfaces}
        async with self._pool.connection() as connection:
            claimed = await children.claim(connection, slots=slots, **named)
        fences = [Fence(child.parent_id, child.ordinal, token) for child in claimed]
        self._held += fences
        return fences

    async def _settle(self) -> None:
        """Some in any order, one perhaps twice; now and then the whole batch again."""
        self._random.shuffle(self._held)
        cut = self._random.randint(0, min(60, len(self._held)))
        fences, self._held = self._held[:cut], self._held[cut:]
        outcomes = [self._outcome(fence) for fence in fences]
        if self._random.random() < 0.1:
            outcomes += [self._outcome(fence) for fence in fences[:1]]
        for _ in range(1 + (self._random.random() < 0.1)) if outcomes else ():
            async with self._pool.connection() as connection:
                settled = await children.settle(connection, outcomes)
            if settled.children == len(fences):
                ends = [o.fence for o in outcomes[: len(fences)] if isinstance(o, Completed)]
                tell(completed=[[str(end.parent_id), end.ordinal, end.claim] for end in ends])
            tell(ended=[str(parent) for parent in settled.parents])

    async def _stage(self) -> None:
        async with self._pool.connection() as connection:
            await children.stage(connection)

    async def _rescue(self) -> None:
        async with self._pool.connection() as connection:
            async with connection.transaction():
                rescued = await children.rescue(connection)
            await nodes.bury(connection)
        tell(ended=[str(parent) for parent in rescued.parents])

    async def _judge(self) -> None:
        """Somebody, probably alive, is judged dead; these nodes beat."""
        async with self._pool.connection() as connection:
            await connection.execute(BURY_THE_LIVING)
            for node, kind in ((self._node, "worker"), (self._api, "api")):
                columns = self._new._replace(kind=kind).columns
                await connection.execute(nodes.BEAT, {"id": node, **columns})

    async def _change_lanes(self) -> None:
        """A worker registers the same surfaces again."""
        async with self._pool.connection() as connection, connection.transaction():
            await surfaces.register(connection, list(self._surfaces.values()))


async def client(url: str, seed: int) -> None:
    async with db.pool(url, most=2, name="client") as pool:
        await Client(pool, seed).live()


def main(url: str) -> None:
    """The nursery: one process that has imported everything and has no threads, so it may fork."""
    living: set[int] = set()
    for line in sys.stdin:
        order, number = line.split()
        if order == "start":
            if (pid := os.fork()) == 0:
                asyncio.run(client(url, int(number)))
                os._exit(0)
            living.add(pid)
            tell(started=pid)
        else:
            living.discard(int(number))
            tell(killed=int(number), was_alive=end(int(number)))
    for pid in living:
        tell(killed=pid, was_alive=end(pid))


def end(pid: int) -> bool:
    """Kill our child; whether it was alive until then."""
    os.kill(pid, signal.SIGKILL)
    return os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


if __name__ == "__main__":
    main(sys.argv[1])
