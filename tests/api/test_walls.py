"""Walls between keys: what one has is not there for another, and nothing tells that it is.

The matrix in `walls` is generated from the operations that are served, so that a new one is behind
the wall or fails here.
"""

import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from admission import keys
from admission.limits import Limits
from orchestrator.api.cached import Cached
from orchestrator.domain import ids
from orchestrator.domain.states import ChildState, ParentState
from orchestrator.settings import Settings
from orchestrator.store import children, surfaces
from orchestrator.store.children import Completed, Failed, Retry
from tests import factories
from tests.api import dialects, walls
from tests.api.wire import Wire, tapped

pytestmark = pytest.mark.anyio

OFTEN = 100_000
SECRETIVE = {
    "query": "quagga in the query",
    "surfaces": ["chatgpt"],
    "regions": [{"country": "US", "city": "Quaggaville"}],
    "metadata": {"quagga-field": "quagga value"},
    "webhook": {"url": "https://example.com/quagga/hook"},
    "group": walls.GROUP,
}
EVERYBODYS = {"readSurfaces", "readHealth", "readSchema", "checkQueues"}
"""What these say is the same for all keys, and may change by what any of them does."""

TIMES = {"asOf", "resetAt", "oldestAgeSeconds", "remaining", "drainPerSecond"}
"""Fields that change by themselves as time goes on, or by being asked."""

END = """
UPDATE parent SET state = %(state)s, done = total, started_at = now(), finished_at = now()
WHERE id = %(parent)s
"""
PUT = """
UPDATE child SET state = %(state)s, claim = CASE WHEN %(state)s = 'processing' THEN claim END
WHERE parent_id = %(parent)s AND ordinal = %(ordinal)s
"""


@pytest.fixture
def settings(database) -> Settings:
    secret_key = "what secrets are sealed with here"
    return Settings(database_url=database, secret_key=secret_key, sync_wait=0.2)


@pytest.fixture
def client_of(connection, opened) -> Callable[..., Any]:
    """Opens a client with a new key of this name and role that may ask as often as it likes."""

    @asynccontextmanager
    async def make(name: str, **given: Any) -> AsyncIterator[httpx.AsyncClient]:
        limits = Limits(**{"requests_per_minute": OFTEN} | given.pop("limits", {}))
        issued = await keys.create(connection, name, limits=limits, **given)
        async with opened(issued.secret) as made:
            yield made

    return make


@pytest.fixture
async def owner(registered, client_of) -> AsyncIterator[httpx.AsyncClient]:
    """The key whose things the others must not see."""
    async with client_of(walls.OWNER) as made:
        yield made


@pytest.fixture(params=["client", "operator"])
def role(request) -> str:
    return request.param


@pytest.fixture
async def stranger(role, registered, client_of) -> AsyncIterator[httpx.AsyncClient]:
    """Another key, of either role."""
    async with client_of("stranger", role=role) as made:
        yield made


@pytest.fixture
async def foreign(owner, worker, connection) -> dict[str, str]:
    """The owner's ids: a parent and a child in each state, and a child not born yet."""
    await surfaces.register(connection, [dialects.queue()])
    cities = [{"country": "US", "city": f"City {n}"} for n in range(len(ChildState))]
    made = {state: await submit(owner) for state in ParentState if state.ended}
    made[ParentState.PROCESSING] = await submit(owner, regions=cities)
    await worker.claim()
    made[ParentState.QUEUED] = await submit(owner)
    for state, job in made.items():
        if state.ended:
            await connection.execute(END, {"state": state, "parent": uuid(job)})
    running = made[ParentState.PROCESSING]
    born = (await owner.get(f"/v1/jobs/{running}")).json()["children"]
    for ordinal, state in enumerate(ChildState, 1):
        put = {"state": state, "parent": uuid(running), "ordinal": ordinal}
        await connection.execute(PUT, put)
    return {
        **{f"{state} parent": job for state, job in made.items()},
        **{f"{state} child": born[n]["id"] for n, state in enumerate(ChildState)},
        "child not born yet": f"{made[ParentState.QUEUED]}.chatgpt.us_quaggaville",
        "reservation": await hold(owner),
        "delivery": await tell(owner),
        "secret": (await owner.post("/v1/webhooks/secrets")).json()["id"],
        "group": walls.GROUP,
        "task": await ask_cloro(owner),
        "queued": await enqueue(owner),
    }


async def submit(client: httpx.AsyncClient, **fields: Any) -> str:
    """The id of a new parent."""
    answer = await client.post("/v1/search", json=SECRETIVE | fields)
    assert answer.status_code == 202
    return answer.json()["jobId"]


async def ask_cloro(client: httpx.AsyncClient) -> str:
    """The id of a new task of cloro's."""
    task = {"taskType": "CHATGPT", "payload": {"prompt": "quagga"}}
    return str((await client.post("/v1/async/task", json=task)).json()["task"]["id"])


async def enqueue(client: httpx.AsyncClient) -> str:
    """The id of a new task of a queue."""
    task = {"queue": "quagga", "webhook_url": "https://a.example/"}
    return str((await client.post("/v1/tasks", json=task)).json()["id"])


async def hold(client: httpx.AsyncClient) -> str:
    """The id of a new reservation."""
    asked = {"jobs": 3, "surfaces": ["chatgpt"], "reserveSeconds": 120}
    answer = await client.post("/v1/async/preflight", json=asked)
    return str(answer.json()["reservation"]["id"])


async def tell(client: httpx.AsyncClient) -> str:
    """The id of a new delivery."""
    job = await submit(client)
    await client.post(f"/v1/jobs/{job}/cancel")
    return str((await client.get("/v1/webhooks/deliveries")).json()["deliveries"][0]["id"])


def uuid(job: str) -> Any:
    read = ids.read(job)
    assert read
    return read.parent


def test_every_path_parameter_is_in_the_matrix(app):
    """A path parameter is either an id of what is owned, or nobody's; routes have no others."""
    told = {name for operation in walls.OPERATIONS for name in walls.parameters(operation.path)}
    served = {name for route in app.routes for name in route.path_parameters}
    assert served == told
    assert told - walls.NOBODYS.keys() == set(BEHIND)


async def test_every_kind_of_id_is_in_the_matrix(foreign):
    """The ids tried are of every kind there is, and each opens something to its owner."""
    assert {walls.kind(job) for job in foreign.values()} == walls.ID_KINDS
    assert {walls.kind(job) for job in walls.ABSENT.values()} >= walls.ID_KINDS


async def test_each_id_leads_its_owner_somewhere(foreign, owner):
    """It is the wall that hides them from others: their owner reads every one, in its state."""
    held, group = foreign.pop("reservation"), foreign.pop("group")
    told, secret = foreign.pop("delivery"), foreign.pop("secret")
    task, queued = foreign.pop("task"), foreign.pop("queued")
    assert (await owner.get(f"/v1/async/task/{task}")).json()["task"]["id"] == task
    assert (await owner.get(f"/v1/tasks/{queued}")).json()["id"] == queued
    assert (await owner.post(f"/v1/webhooks/deliveries/{told}/replay")).status_code == 202
    assert (await owner.delete(f"/v1/webhooks/secrets/{secret}")).status_code == 204
    assert (await owner.get(f"/v1/groups/{group}")).json()["group"] == group
    assert (await owner.delete(f"/v1/async/reservations/{held}")).status_code == 204
    for label, job in foreign.items():
        answer = await owner.get(f"/v1/jobs/{job}")
        assert answer.status_code == 200, label
        state = label.partition(" ")[0].replace("retrying", "queued").replace("child", "queued")
        assert answer.json()["job"]["status"] == state


async def test_another_keys_ids_are_as_if_they_never_existed(foreign, stranger):
    """404 with the same bytes and headers for every id of another key, unknown and malformed."""
    differences = []
    for way in (way for operation in walls.NAMING for way in walls.good_ways(operation)):
        never = walls.told(await way.ask(stranger, walls.NEVER))
        assert never[0] == 404, way
        for label, job in {**foreign, **walls.ABSENT}.items():
            if walls.told(await way.ask(stranger, job)) != never:
                differences.append((way, label))
    assert differences == []


async def test_however_oddly_they_are_asked_for(foreign, stranger):
    """Bad parameters, a bad body and every other method are answered alike whatever is named."""
    differences = []
    for way in (way for operation in walls.NAMING for way in walls.odd_ways(operation)):
        never = walls.told(await way.ask(stranger, walls.NEVER))
        assert never[0] != 500, way
        for label, job in {**foreign, **walls.ABSENT}.items():
            if walls.told(await way.ask(stranger, job)) != never:
                differences.append((way, label))
    assert differences == []


async def test_what_needs_no_id_shows_nothing_of_another_key(foreign, stranger, role):
    """No operation tells another key's ids, queries, cities, metadata or name, however asked.

    But those that are for operators tell it to them.
    """
    named = {job for label, job in foreign.items() if label != "group"}
    marks = {"quagga"} | {(job.partition("_")[2] or job).partition(".")[0] for job in named}
    for operation in walls.OTHERS:
        for way in (*walls.good_ways(operation), *walls.odd_ways(operation)):
            if role == "operator" and walls.beyond(operation, way):
                continue
            answer = await way.ask(stranger)
            said = f"{answer.text} {answer.headers}".lower()
            assert [mark for mark in marks if mark in said] == [], way


FOR_OPERATORS = [o for o in walls.OTHERS if o.name in walls.OPERATORS]


async def test_what_operators_are_told_is_no_path_to_a_client(foreign, client_of):
    """The error of a path that is none, byte for byte, however a client asks."""
    async with client_of("client") as client:
        nothing = await client.get("/v1/quokkas", headers={"X-Request-ID": "walls"})
        assert nothing.status_code == 404
        for way in (way for operation in FOR_OPERATORS for way in walls.good_ways(operation)):
            assert walls.told(await way.ask(client))[:2] == walls.told(nothing)[:2], way


@pytest.mark.parametrize("role", ["operator"])
async def test_an_operator_sees_another_keys_jobs_by_its_name_alone(foreign, owner, stranger):
    """The list that names the key is what the key lists itself; without a name it is its own."""
    theirs = (await stranger.get("/v1/jobs", params={walls.OTHER_KEY: walls.OWNER})).json()
    assert theirs["jobs"] == (await owner.get("/v1/jobs")).json()["jobs"]
    assert theirs["jobs"]
    assert (await stranger.get("/v1/jobs")).json()["jobs"] == []


MINE = [
    o
    for o in walls.OTHERS
    if o.keyed and o.method == "get" and o.name not in EVERYBODYS | walls.OPERATORS
]


async def test_what_a_key_reads_of_itself_never_changes_by_what_another_does(
    client_of, owner, worker
):
    """A key with work waiting, queued, running and ended reads the same after another's work."""
    async with client_of("mine", limits={"concurrency": 1}) as mine:
        for _ in range(4):
            await mine.post("/v1/search", json=SECRETIVE | {"metadata": {}})
        (first,) = await worker.claim()
        await children.settle(worker.connection, [Completed(first, factories.CAPTURE, 200)])
        while await worker.claim():
            pass
        before = {operation.name: still(await read(mine, operation)) for operation in MINE}
        await busy(owner, worker)
        for operation in MINE:
            assert still(await read(mine, operation)) == before[operation.name]


async def busy(client: httpx.AsyncClient, worker: Any) -> None:
    """Submit, run, fail, retry, end; leave some waiting, some running, and one detached."""
    for priority in (1, 5, 10):
        await submit(client, priority=priority, regions=["US", "GB", "FR"])
    completed, failed, retried, *running = await worker.claim()
    assert running
    await children.settle(
        worker.connection,
        [
            Completed(completed, factories.CAPTURE, 200),
            Failed(failed, factories.FAILURE, 503),
            Retry(retried, factories.FAILURE, 60.0, 503),
        ],
    )
    await submit(client)
    await client.post("/v1/search", json={"query": ""})
    left = await client.post("/v1/search", json=SECRETIVE, headers={"Prefer": "wait=1"})
    assert left.status_code == 202, "detached"


async def read(client: httpx.AsyncClient, operation: walls.Operation) -> Any:
    answer = await walls.plain(operation).ask(client)
    assert answer.status_code == 200
    return answer.json()


def still(document: Any) -> Any:
    """The document without what changes by itself."""
    match document:
        case dict():
            return {name: still(part) for name, part in document.items() if name not in TIMES}
        case list():
            return [still(part) for part in document]
        case _:
            return document


async def test_an_idempotency_key_is_its_owners(owner, stranger):
    """The same under two API keys is two jobs, each replayed to its own; others never conflict."""
    named = {"Idempotency-Key": "order-1"}
    others = SECRETIVE | {"query": "something else"}
    ids_of = []
    for client, body in ((owner, SECRETIVE), (stranger, others)):
        made, again = [
            await client.post("/v1/search", json=body, headers=named) for _ in ("made", "again")
        ]
        assert (made.status_code, again.status_code) == (202, 202)
        assert "Idempotent-Replayed" not in made.headers
        assert again.json()["jobId"] == made.json()["jobId"]
        ids_of.append(made.json()["jobId"])
    assert len(set(ids_of)) == 2


async def test_one_keys_rate_is_not_anothers(client_of, stranger):
    """A key that has used up its requests is refused; the next key is not."""
    async with client_of("spent", limits={"requests_per_minute": 1}) as spent:
        answers = [await spent.get("/v1/async/status") for _ in range(5)]
        assert answers[-1].status_code == 429
        assert (await stranger.get("/v1/async/status")).status_code == 200


@pytest.fixture
async def wire(settings, app, tmp_path) -> AsyncIterator[Wire]:
    """What the application says to its database, and hears from it, while it answers.

    What it knows it knows to the end: on a slow machine it would be read again at any moment.
    """
    async with tapped(settings, tmp_path / "wire") as made:
        app.state["services"] = dataclasses.replace(
            app.state["services"],
            pool=made.pool,
            keys=Cached(seconds=3600, largest=10),
            catalogues=Cached(seconds=3600, largest=1),
        )
        yield made


async def test_the_work_behind_a_404_is_the_same(foreign, wire, client_of):
    """Time tells nothing: for foreign and unknown ids the database hears and says the same.

    Every statement and every message, with its length; only the id differs. That each statement
    is one probe of a primary key is what the plan guards of the store hold.
    """
    async with client_of("timer") as client:
        await client.get("/v1/surfaces")  # the key and what exists are known from now on
        for way in map(walls.plain, walls.NAMING):
            await _works_alike(way, foreign, wire, client)


BEHIND = {
    "job": (ids.ParentId, "FROM parent"),
    "taskId": (walls.TASK, "FROM parent"),
    "task": (walls.QUEUED, "FROM parent"),
    "reservation": (walls.RESERVATION, "FROM reservation"),
    "delivery": (ids.EventId, "UPDATE delivery"),
    "secret": (walls.SECRET, "DELETE FROM webhook_secret"),
    "group": (walls.GROUP, "JOIN parent_group"),
}


async def _works_alike(
    way: walls.Way, foreign: dict[str, str], wire: Wire, client: httpx.AsyncClient
) -> None:
    jobs = (walls.NEVER, f"{walls.NEVER}.chatgpt.us")
    never = (*jobs, walls.NEVER_RESERVED, walls.NEVER_TOLD, walls.NEVER_SIGNED, walls.NO_GROUP)
    never = (*never, walls.NEVER_A_TASK, walls.NEVER_QUEUED)
    unknown = {walls.kind(job): await wire.during(way.ask(client, job)) for job in never}
    ((kind, statement),) = [what for name, what in BEHIND.items() if f"{{{name}}}" in way.path]
    assert statement in unknown[kind], way
    alike = {walls.GROUP} if kind == walls.GROUP else walls.ID_KINDS  # any text names a group
    for label, job in foreign.items():
        if walls.kind(job) in alike:
            said = await wire.during(way.ask(client, job))
            assert said == unknown[walls.kind(job)], (way, label)
