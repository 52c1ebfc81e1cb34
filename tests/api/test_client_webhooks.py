"""The client and the command line about webhooks, against the real application."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from rich.console import Console

from orchestrator.cli import deliveries as command
from orchestrator.client import ApiError, Client
from orchestrator.settings import Settings
from orchestrator.store import children
from orchestrator.store.children import Completed
from tests import factories
from tests.api.test_webhooks import KEY, SECRET, URL

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(database):
    return Settings(database_url=database, secret_key=KEY)


@pytest.fixture
async def asking(app, registered, issue):
    """A client of a new key."""
    secret = (await issue()).secret
    transport = httpx.ASGITransport(app)
    async with Client(url="http://parallax.test", key=secret, transport=transport) as made:
        yield made


async def told(asking, worker, n=1):
    """So many jobs of one cell have ended; each is told of twice."""
    for _ in range(n):
        await asking.submit("shoes", surfaces=["chatgpt"], webhook=URL)
    while fences := await worker.claim():
        done = [Completed(fence, factories.CAPTURE, 200) for fence in fences]
        await children.settle(worker.connection, done)


async def test_a_webhook_is_a_url_or_all_there_is_to_say(asking, connection):
    """Either way it is stored with the job; a secret signs its own events alone."""
    await asking.submit("shoes", surfaces=["chatgpt"], webhook=URL)
    whole = {"url": URL, "secret": SECRET, "events": ["parent"]}
    await asking.submit("shoes", surfaces=["chatgpt"], webhook=whole)
    tells = await connection.execute("SELECT tells FROM parent ORDER BY id")
    assert await tells.fetchall() == [(3,), (2,)]
    with pytest.raises(ApiError, match=r"webhook\.url: .*loopback") as caught:
        await asking.submit("shoes", surfaces=["chatgpt"], webhook="http://127.0.0.1/")
    assert caught.value.status == 400


async def test_deliveries_are_listed_and_sent_again(asking, worker, connection):
    """All of them over several pages; one by its id, or those of a time and a status."""
    await told(asking, worker, n=60)
    found = [one async for one in asking.deliveries()]
    assert len(found) == 120
    assert {one.type for one in found} == {"job.completed", "parent.completed"}
    await connection.execute("UPDATE delivery SET status = 'dead', attempts = 7")
    assert (await asking.replay(found[0].id)).status == "pending"
    assert [one.id async for one in asking.deliveries(status="pending")] == [found[0].id]
    since = datetime.now(UTC) - timedelta(hours=1)
    assert await asking.replay_range(since, since + timedelta(minutes=1)) == 0
    until = datetime.now(UTC) + timedelta(hours=1)
    assert await asking.replay_range(since, until, status="dead") == 119
    assert await asking.replay_range(since, until) == 120
    with pytest.raises(ApiError, match="NOT_FOUND"):
        await asking.replay("dlv_x")


async def test_secrets_are_made_listed_and_revoked(asking):
    """A new one is shown this once, and by no `repr`; the list says when each ends."""
    made = await asking.create_webhook_secret()
    assert made.secret.startswith("whsec_")
    assert made.secret not in repr(made)
    ends = datetime(2999, 1, 1, tzinfo=UTC)
    own = await asking.create_webhook_secret(secret=SECRET, expires_at=ends)
    assert own.secret == SECRET
    listed = await asking.webhook_secrets()
    assert [(one.id, one.expires_at) for one in listed] == [
        (own.id, "2999-01-01T00:00:00.000Z"),
        (made.id, None),
    ]
    await asking.revoke_webhook_secret(made.id)
    assert [one.id for one in await asking.webhook_secrets()] == [own.id]
    with pytest.raises(ApiError, match="NOT_FOUND"):
        await asking.revoke_webhook_secret(made.id)


async def test_a_table_says_how_each_delivery_goes(asking, worker, connection):
    """What it tells of what, how often, the last code, and when it came home or is due."""
    await told(asking, worker)
    await connection.execute(
        "UPDATE delivery SET status = 'delivered', delivered_at = now(), last_code = 204,"
        " attempts = 1 WHERE ordinal = 0"
    )
    found = [one async for one in asking.deliveries()]
    with (console := Console(width=160)).capture() as capture:
        console.print(command.table_of(found))
    shown = [line.split() for line in capture.get().splitlines() if line.split()][2:]
    assert shown == [
        [found[0].id, "job.completed", "pending"],
        [found[0].job_id, "due", found[0].next_attempt_at],
        [found[1].id, "parent.completed", "delivered"],
        [found[1].job_id, found[1].delivered_at],
        ["1", "attempt,", "last", "204"],
    ]
    with (console := Console(width=80)).capture() as capture:
        console.print(command.table_of(found))
    assert all(one.id in capture.get() for one in found), "an id can be copied"
