"""Tasks of queues, from a submission to the call of their URL, by a real runner."""

from contextlib import asynccontextmanager

import msgspec
import pytest

from orchestrator.domain import ids, queues
from orchestrator.domain.plan import Plan
from orchestrator.domain.regions import Region
from orchestrator.fanout import fan_out
from orchestrator.sealing import Sealer
from orchestrator.store import children, webhook_secrets
from orchestrator.surfaces import SurfaceConfig
from tests import factories
from tests.waiting import eventually
from tests.workers import running
from tests.workers.running import Surface
from workers import retry
from workers.secrets import UNREADABLE, Secrets

pytestmark = pytest.mark.anyio
PAUSE = """
SELECT extract(epoch FROM run_at - (log[cardinality(log)] ->> 'ended_at')::timestamptz)::float8
FROM child
"""
NAME = "queue_default"
CONFIG = SurfaceConfig(name=NAME, adapter="asyncqueue", attempts=3, backoff="doubling")


@pytest.fixture
def sealer():
    return Sealer("what secrets are sealed with here")


async def keep(connection, owner, sealed):
    """The key has this secret, newest of all."""
    named = {"key_id": owner.id, "sealed": sealed, "expires_at": None}
    async with connection.transaction():
        assert await webhook_secrets.make(connection, ids.new(), **named)


def task() -> Plan:
    options = {"url": "https://a.example/", "queue": "emails", "payload": None}
    return Plan(
        query="emails",
        surfaces=(NAME,),
        regions=(Region(queues.GLOBAL),),
        options={NAME: options},
        queue="emails",
    )


async def waiting(connection, owner, plan=None):
    """A task that is ready."""
    lane = await factories.lane(connection, queues.GLOBAL, surface=NAME)
    fields = msgspec.structs.asdict(plan or task())
    asked = factories.new_parent(owner, [lane])._replace(plan=Plan(**fields))
    async with connection.transaction():
        await factories.usage.lock(connection, [owner.id])
        await factories.parents.insert(connection, [asked])
    await fan_out(connection)
    return asked.id


@asynccontextmanager
async def working(connection, database, secrets):
    async with running.working(connection, database, config=CONFIG, secrets=secrets) as worker:
        yield worker


async def called(worker) -> Surface:
    """The surface, once it has been called."""
    await worker.runner.step()

    async def asked():
        return bool(worker.surface.asked)

    await eventually(asked)
    return worker.surface


async def test_a_task_is_signed_with_the_newest_secret_of_its_key(connection, database, sealer):
    """As it is when the task is claimed; other keys' secrets are theirs."""
    owner, other = await factories.key(connection), await factories.key(connection)
    for of, secret in ((owner, "older secret of mine"), (owner, "newest of mine"), (other, "x")):
        await keep(connection, of, sealer.seal(secret))
    await waiting(connection, owner)
    async with working(connection, database, Secrets(sealer)) as worker:
        surface = await called(worker)
    assert [request.secret for request in surface.asked] == ["newest of mine"]
    assert "newest" not in repr(surface.asked)


async def test_without_a_secret_nothing_is_signed(connection, database, sealer):
    """Nor is one looked for where no task is."""
    await waiting(connection, await factories.key(connection))
    async with working(connection, database, Secrets(sealer)) as worker:
        surface = await called(worker)
    assert [request.secret for request in surface.asked] == [None]


@pytest.mark.parametrize("with_key", [True, False])
async def test_a_secret_that_nobody_can_open_is_told_apart_from_none(
    connection, database, sealer, with_key
):
    """Sealed under a key that is not there, or by a server that has none."""
    owner = await factories.key(connection)
    await keep(connection, owner, sealer.seal("mine"))
    await waiting(connection, owner)
    opener = Secrets(Sealer("what other secrets are sealed with") if with_key else None)
    async with working(connection, database, opener) as worker:
        surface = await called(worker)
    assert [request.secret for request in surface.asked] == [UNREADABLE]


async def test_a_task_waits_twice_as_long_each_time(connection, database, sealer):
    """1, 2, 4 … s, drawn from nothing; its lane learns nothing of it."""
    parent = await waiting(connection, await factories.key(connection))
    pauses = []
    async with working(connection, database, Secrets(sealer)) as worker:
        worker.surface.error = running.SurfaceError("UPSTREAM_STATUS", "500", permanent=False)
        worker.surface.released.set()
        for _ in range(2):
            await worker.runner.step()
            pauses.append(await pause(connection, parent))
            await connection.execute("UPDATE child SET state = 'queued', run_at = NULL")
        await worker.runner.step()

        async def over():
            return (await children.one(connection, parent, 1)).state.ended

        await eventually(over)
    assert pauses == [1.0, 2.0]


async def pause(connection, parent) -> float:
    """How long it waits for its next call."""

    async def between():
        return (await children.one(connection, parent, 1)).state == "retrying"

    await eventually(between)
    since = (
        "SELECT extract(epoch FROM run_at - (log[cardinality(log)] ->> 'ended_at')::timestamptz)"
    )
    return float(await factories.scalar(connection, f"{since}::float8 FROM child"))


def test_pauses_double_until_the_attempts_are_used_up():
    """For ten attempts at most: nobody waits longer than 256 s."""
    waits = [retry.doubling(attempt=n, most=10, permanent=False) for n in range(1, 11)]
    assert waits[:-1] == [retry.Again(2.0**n) for n in range(9)]
    assert waits[-1] == retry.GiveUp()
    assert retry.doubling(attempt=1, most=10, permanent=True) == retry.GiveUp()
