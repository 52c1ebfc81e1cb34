"""What a store test begins with: keys, lanes, parents and claims, by the store's own functions."""

import secrets
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from admission import gate as doors
from admission import keys, reservations, usage
from admission.deciding import Ask, Decision, Item
from admission.demand import Demand
from admission.gate import Entry, Gate, Prior
from admission.keys import Key
from admission.limits import Limits
from admission.refusals import Refusal
from orchestrator.domain import ids
from orchestrator.domain.envelope import Failure
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region
from orchestrator.store import children, lanes, nodes, parents, strands
from orchestrator.store.children import (
    Claimed,
    Completed,
    Failed,
    Fence,
    GivenBack,
    Outcome,
    Retry,
    Settled,
)
from orchestrator.store.lanes import Place
from orchestrator.store.nodes import NewNode
from orchestrator.store.parents import Caller, NewParent
from orchestrator.surfaces import RegionLimits

SURFACE = "chatgpt"
FAILURE = Failure(code="UPSTREAM_STATUS", message="the upstream said 500", retryable=True)
CAPTURE = '{"answer": {"text": "tea"}}'


async def key(connection: AsyncConnection, name: str | None = None, **limits: Any) -> Key:
    """A key with these limits, the rest as for any new one."""
    name = name or f"key-{secrets.token_hex(4)}"
    return (await keys.create(connection, name, limits=Limits(**limits))).key


async def lane(
    connection: AsyncConnection,
    country: str = "US",
    *,
    surface: str = SURFACE,
    concurrency: int = 100,
    rate: str | None = None,
) -> int:
    """The id of this lane; a new one gets these limits."""
    place, limits = Place(surface, country), RegionLimits(concurrency=concurrency, rate=rate)
    return (await lanes.ensure(connection, {place: limits}))[place]


async def node(
    connection: AsyncConnection, *, surfaces: Sequence[str] = (SURFACE,), age_seconds: float = 0
) -> int:
    """The id of a worker whose last heartbeat is this old."""
    new = NewNode(host="test", pid=1, slots=100, surfaces=surfaces)
    return await _registered(connection, new, age_seconds)


async def api_node(connection: AsyncConnection, *, age_seconds: float = 0) -> int:
    """The id of an API process whose last heartbeat is this old."""
    return await _registered(connection, NewNode(host="test", pid=1, kind="api"), age_seconds)


async def _registered(connection: AsyncConnection, new: NewNode, age_seconds: float) -> int:
    made = await nodes.register(connection, new)
    await connection.execute(
        "UPDATE node SET heartbeat_at = heartbeat_at - %s * interval '1 second' WHERE id = %s",
        [age_seconds, made],
    )
    return made


def plan(cells: int = 1, *, priority: int = 5, query: str = "tea", **fields: Any) -> Plan:
    """A plan of so many cells of one surface."""
    regions = tuple(Region("US", f"City {n}") for n in range(cells))
    return Plan(query=query, surfaces=(SURFACE,), regions=regions, priority=priority, **fields)


def new_parent(owner: Key, cells: Sequence[int], *, priority: int = 5) -> NewParent:
    """A parent about to be admitted, with a cell in each of these lanes."""
    asked = plan(len(cells), priority=priority)
    return NewParent(id=ids.new(), key_id=owner.id, plan=asked, lanes=cells)


async def parent(
    connection: AsyncConnection, owner: Key, cells: Sequence[int], *, priority: int = 5
) -> UUID:
    """A parent in the queue of its key, whatever the capacity."""
    (made,) = await some_parents(connection, owner, cells, n=1, priority=priority)
    return made


async def new_waiting(
    connection: AsyncConnection, owner: Key, cells: Sequence[int], **fields: Any
) -> UUID:
    """A parent in the queue whose plan has these fields: delay, deadline, finish, group …"""
    asked = NewParent(id=ids.new(), key_id=owner.id, plan=plan(len(cells), **fields), lanes=cells)
    async with connection.transaction():
        await usage.lock(connection, [owner.id])
        await parents.insert(connection, [asked])
    return asked.id


async def some_parents(
    connection: AsyncConnection, owner: Key, cells: Sequence[int], *, n: int, priority: int = 5
) -> list[UUID]:
    """As many equal parents in the queue, oldest first."""
    made = [new_parent(owner, cells, priority=priority) for _ in range(n)]
    async with connection.transaction():
        await usage.lock(connection, [owner.id])
        await parents.insert(connection, made)
    return [one.id for one in made]


async def sync_parent(
    connection: AsyncConnection,
    owner: Key,
    cells: Sequence[int],
    *,
    priority: int = 5,
    node: int | None = None,
) -> UUID:
    """A parent that one caller, held by this API process, waits for; whatever the limits."""
    held_by = node if node is not None else await api_node(connection)
    asked = new_parent(owner, cells, priority=priority)
    async with connection.transaction():
        await usage.lock(connection, [owner.id])
        await parents.insert(connection, [asked._replace(caller=_caller(held_by))])
    return asked.id


async def join(connection: AsyncConnection, owner: Key, parent: UUID, *, node: int = 0) -> int:
    """One more caller waits for this parent; the id of the wait."""
    caller = _caller(node)
    async with connection.transaction():
        await usage.lock(connection, [owner.id])
        asked = new_parent(owner, ())._replace(caller=caller)
        await parents.attend(connection, [(asked, parent)])
    return caller.id


async def reservation(
    connection: AsyncConnection, owner: Key, places: int, *, seconds: float = 60
) -> UUID:
    """The id of a new reservation, whether or not the queue has room for it."""
    async with connection.transaction():
        await usage.lock(connection, [owner.id])
        made = await reservations.make(
            connection, ids.new(), key_id=owner.id, places=places, seconds=seconds
        )
    return made.id


def _caller(node: int) -> Caller:
    return Caller(secrets.randbits(62), node)


async def waiting_for(connection: AsyncConnection, *of: UUID) -> list[int]:
    """The ids of the waits for these parents, in no order."""
    cursor = await connection.execute(
        "SELECT id FROM sync_wait WHERE parent_id = ANY(%s)", [list(of)]
    )
    return [wait for (wait,) in await cursor.fetchall()]


async def mode(connection: AsyncConnection, of: UUID) -> str:
    """The mode of a parent: async, sync or detached."""
    return str(await scalar(connection, "SELECT mode FROM parent WHERE id = %s", of))


async def claim(
    connection: AsyncConnection,
    *,
    by: int | None = None,
    slots: int = 100,
    surfaces: Sequence[str] = (SURFACE,),
) -> list[Claimed]:
    """A claim under a token of its own; `by` None: for a new live node."""
    return await children.claim(
        connection,
        node=by if by is not None else await node(connection, surfaces=surfaces),
        token=secrets.randbits(62),
        slots=slots,
        surfaces=surfaces,
    )


def fence(child: Claimed) -> Fence:
    """What fences this claim."""
    return Fence(child.parent_id, child.ordinal, child.claim)


def completed(child: Claimed) -> Outcome:
    """The child's capture came home."""
    return Completed(fence(child), CAPTURE, 200)


def failed(child: Claimed) -> Outcome:
    """The child failed for good."""
    return Failed(fence(child), FAILURE, 500)


def retried(child: Claimed, delay_seconds: float = 0.0) -> Outcome:
    """The child is to be tried again."""
    return Retry(fence(child), FAILURE, delay_seconds, 500)


def given_back(child: Claimed) -> Outcome:
    """The child was never really tried."""
    return GivenBack(fence(child))


async def settle(connection: AsyncConnection, *outcomes: Outcome) -> Settled:
    """Settle these in one batch."""
    return await children.settle(connection, outcomes)


async def complete(connection: AsyncConnection, claimed: Iterable[Claimed]) -> Settled:
    """Settle all of these as completed in one batch."""
    return await children.settle(connection, [completed(child) for child in claimed])


async def states(connection: AsyncConnection, of: UUID) -> list[str]:
    """The states of a parent's children in ordinal order; none while it is queued."""
    return [str(child.state) for child in await children.of(connection, of)]


async def scalar(connection: AsyncConnection, statement: Any, *arguments: Any) -> Any:
    """The one value of a statement's one row."""
    row = await (await connection.execute(statement, arguments)).fetchone()
    assert row
    return row[0]


async def refused(connection: AsyncConnection, owner: Key) -> Refusal:
    """What a key without room is told that wants a place."""
    async with connection.transaction():
        refusal = await doors.enter(connection, Demand(owner.id), strands.resumes)
    assert isinstance(refusal, Refusal)
    return refusal


async def admit(gate: Gate[Entry, Prior], demand: Demand, entry: Entry) -> Decision[Prior]:
    """What the gate decides on one entry."""
    (decision,) = (await gate.ask(Ask((Item(demand, entry),)))).decisions
    return decision
