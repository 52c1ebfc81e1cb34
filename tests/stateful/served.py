"""The world over HTTP: its doors are two API processes, and callers are calls under way."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID

import httpx
import msgspec

from admission.keys import Issued, Key
from orchestrator.domain.plan import Plan, encode
from orchestrator.domain.snapshot import Snapshot
from orchestrator.store import parents
from orchestrator.store.parents import Caller
from orchestrator.surfaces import SurfaceDescriptor
from tests.stateful import looking, wire
from tests.stateful.calls import LONG_WAIT, Call, Calls, Like
from tests.stateful.deciding import Asked, Held, Told
from tests.stateful.ordering import Client
from tests.stateful.orders import Cancel, Erase, Order, Read, Retry
from tests.stateful.prices import priced
from tests.stateful.records import CallerRow
from tests.stateful.strategies import Asking, gathered, pick
from tests.stateful.wire import Process
from tests.stateful.world import World
from tests.waiting import eventually

NOT_TOLD = Held(UUID(int=0))
# What the processes remember stays (lanes, surfaces, themselves), and the rates, which they write.
CLEAN = """
SET session_replication_role = replica;
DELETE FROM child; DELETE FROM delivery; DELETE FROM parent; DELETE FROM node WHERE kind = 'worker';
DELETE FROM lane_load; DELETE FROM inflight; DELETE FROM backlog; DELETE FROM usage;
DELETE FROM sync_wait; DELETE FROM reservation; DELETE FROM strand;
DELETE FROM lane_pace; DELETE FROM lane_turn;
DELETE FROM parent_group; DELETE FROM group_usage; DELETE FROM group_action;
DELETE FROM api_secret; DELETE FROM api_key;
SET session_replication_role = origin
"""
FRESH = (
    "UPDATE lane SET failures = 0, open_until = NULL, adaptive = NULL, good = 0, halved_at = NULL"
)
HEAL = "UPDATE lane SET failures = 0, open_until = NULL WHERE failures > 0"
NODE = "SELECT id FROM node WHERE kind = 'api' AND pid = %(pid)s ORDER BY id DESC LIMIT 1"
CALLERS = """
SELECT w.id, w.parent_id, w.key_id, w.node, p.idempotency_key, p.payload::text
FROM sync_wait w JOIN parent p ON p.id = w.parent_id
WHERE w.node = ANY(%(nodes)s)
ORDER BY w.id
"""


class Door(NamedTuple):
    """An API process as its clients and the database know it."""

    process: Process
    client: httpx.AsyncClient
    node: int


class Served(World):
    """A world whose API processes live as long as nobody kills them, over all examples."""

    def __init__(self, url: str, runner: asyncio.Runner, *, processes: list[Process]) -> None:
        super().__init__(url, runner)
        self._processes = processes
        self._secrets: dict[int, str] = {}
        self._calls = Calls()
        self._queries = count(1)

    async def open(self) -> None:
        """Empty the database; nobody is under way."""
        await self._calls.drop()
        self.execute(CLEAN)
        self.execute(FRESH)
        if not self.doors:
            self.doors = [await self._door(process) for process in self._processes]

    async def close(self) -> None:
        """The processes go on to the next example."""

    async def ended(self) -> None:
        """Everybody was answered, and each parent came of one call."""
        self._calls.judge_all()

    async def finish(self) -> None:
        """Nobody listens any more."""
        await self._calls.drop()
        await gathered(door.client.aclose() for door in self.doors)
        await super().finish()

    async def replace(self, door: int) -> None:
        """Kill a process; its callers see a broken connection. Another one starts."""
        before = self.doors[door]
        before.process.kill()
        await self._calls.broken(before.node)
        await before.client.aclose()
        self._processes[door] = Process(self.url)
        self.doors[door] = await self._door(self._processes[door])

    async def _door(self, process: Process) -> Door:
        process.ready()
        ((node,),) = await self.bare(looking.rows, NODE, pid=process.pid)
        return Door(process, httpx.AsyncClient(base_url=process.url, timeout=60), node)

    async def ask(
        self, keys: Sequence[Key], asking: Asking, surfaces: dict[str, SurfaceDescriptor]
    ) -> Asked:
        """Submit over HTTP; a sync call that waits goes on as a task."""
        key, door = pick(keys, asking.key), self.doors[asking.door]
        asked = Asked(key, self._plan(asking), asking.name, None, NOT_TOLD)
        if not asking.sync:
            return asked._replace(told=wire.told(await self._post(door, asked)))
        task = asyncio.create_task(self._post(door, asked, headers={"Prefer": LONG_WAIT}))
        call = Call(task, key, Like(key.id, door.node, asking.name, encode(priced(asked.plan))))
        self._calls.under_way.append(call)
        await eventually(self._matched)
        caller, told = await self._told(call)
        return asked._replace(told=told, caller=Caller(caller, door.node))

    async def _told(self, call: Call) -> tuple[int, Told]:
        """What the call was told, or that it waits and by which row."""
        if not call.task.done() and (own := self._calls.row_of(call)):
            return own[0], Held(own[1])
        self._calls.off([call])
        return 0, wire.told(self._calls.counted(await call.task))

    def _plan(self, asking: Asking) -> Plan:
        """Without a name no two requests are alike, so that their callers can be told apart."""
        unlike = asking.plan.query if asking.name else f"q{next(self._queries)}"
        return msgspec.structs.replace(asking.plan, query=unlike)

    async def _post(
        self, door: Door, asked: Asked, *, mode: str = "", **named: Any
    ) -> httpx.Response:
        headers = self._auth(asked.key) | named.pop("headers", {})
        path, body = f"/v1/search{mode}", wire.body(asked.plan, asked.name)
        return await door.client.post(path, json=body, headers=headers)

    def _auth(self, key: Key) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._secrets[key.id]}"}

    async def ask_in_vain(
        self, keys: Sequence[Key], asking: Asking, *, preferred: bool
    ) -> tuple[Asked, httpx.Response]:
        """Submit and wait for what does not come."""
        key, door = pick(keys, asking.key), self.doors[asking.door]
        caller = Caller(0, door.node)
        asked = Asked(key, self._plan(asking), asking.name, caller, NOT_TOLD)
        how = {"headers": {"Prefer": "wait=1"}} if preferred else {"mode": "?mode=sync"}
        answer = self._calls.counted(await self._post(door, asked, **how))
        return asked._replace(told=wire.told(answer)), answer

    async def steer(self, order: Order) -> Any:
        """Over HTTP, through one process after the other; DELETE is for what has ended only."""
        if isinstance(order, Erase | Read):
            row = await self.on(parents.read, key_id=order.key.id, parent=order.parent)
            if isinstance(order, Read) or row is None or not row.state.ended:
                return await super().steer(order)
        door = self.doors[next(self._queries) % len(self.doors)]
        about = [order.parent] if isinstance(order, Cancel | Retry) else []
        plans = await self.on(parents.plans_of, about)
        return await Client(door.client, self._auth(order.key), plans).give(order)

    async def leave(self, callers: Sequence[int]) -> None:
        """Hang up."""
        await self._calls.drop(callers)

    async def still(
        self, waiting: Mapping[int, CallerRow], left: Iterable[int], ended: Iterable[UUID]
    ) -> dict[int, CallerRow]:
        """Who waits: once ends are answered, each call under way has its row."""
        over = self._calls.over(ended)
        await gathered(self._calls.judge(call, self.read) for call in over)
        await eventually(self._matched)
        return self._calls.callers()

    async def _matched(self) -> bool:
        nodes = [door.node for door in self.doors]
        return self._calls.match(await self.bare(looking.rows, CALLERS, nodes=nodes))

    async def read(self, key: Key, job: str, *, door: int = 0) -> dict[str, Any]:
        """A job as an API process shows it."""
        answer = await self.doors[door].client.get(f"/v1/jobs/{job}", headers=self._auth(key))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def snapshot(self, door: int, key: Key) -> Snapshot:
        client = self.doors[door].client
        answer = await client.get("/v1/async/status", headers=self._auth(key))
        return msgspec.json.decode(answer.content, type=Snapshot)

    def know(self, issued: Issued) -> None:
        self._secrets[issued.key.id] = issued.secret

    def pause(self) -> None:
        """No breaker opens: the processes remember for a second that one was."""
        self.execute(HEAL)
